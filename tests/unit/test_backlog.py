"""What waits for a subscriber: merged where the reply ends the same, and bounded."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.protocol.events import (
    Gap,
    Heartbeat,
    MessageChanged,
    MessageRemoved,
    PartChanged,
    PartDelta,
    PartRemoved,
    PermissionAsked,
    SessionChanged,
    SessionFailed,
    SessionIdle,
    SessionStatus,
    StoredMessage,
    TodosChanged,
    Unknown,
)
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.wire.backlog import Backlog

SESSION, PROMPT = "ses_1", "msg_prompt"


def delta(text, part="prt_1", message="msg_1", session=SESSION, field="text"):
    return PartDelta(session_id=session, part_id=part, message_id=message, field=field, delta=text)


def told(part="prt_1", message="msg_1", session=SESSION, **content):
    part_json = {"id": part, "messageID": message, "type": "text"} | content
    return PartChanged(session_id=session, part_id=part, message_id=message, part=part_json)


def running(output, part="prt_1", **metadata):
    return told(part, type="tool", state={"status": "running", "metadata": {"output": output} | metadata})


def envelope(message="msg_1", session=SESSION, **more):
    stored = StoredMessage(message, session, "assistant", parent_id=PROMPT, **more)
    return MessageChanged(session_id=session, message=stored)


def asked(request="per_1", session=SESSION):
    return PermissionAsked(
        session_id=session, request_id=request, permission="bash", patterns=("*",), metadata={}
    )


def idle(session=SESSION):
    return SessionIdle(session_id=session)


def put_all(backlog, events):
    for event in events:
        backlog.put(event)
    return backlog


def drained(backlog):
    return [backlog.take() for _ in range(len(backlog))]


def merging(*events):
    """What a subscriber gets that takes nothing until all has come."""
    return drained(put_all(Backlog(merge_from=0), events))


def folded(events):
    reply = Reply(SESSION, PROMPT)
    for event in events:
        reply.apply(event)
    return reply.to_json(), reply.messages, reply.error, reply.over


def test_who_keeps_up_gets_every_event_as_it_came():
    events = [
        delta("a"),
        delta("b"),
        told(text=""),
        told(text="ab"),
        idle(),
        idle(),
        Heartbeat(),
        Heartbeat(),
    ]
    assert drained(put_all(Backlog(merge_from=8), events)) == events


def test_text_of_one_part_is_merged_from_the_modest_number_on():
    backlog = put_all(Backlog(merge_from=2), [delta("a"), delta("b"), delta("c"), delta("d"), delta("e")])
    assert drained(backlog) == [delta("a"), delta("b"), delta("cde")]
    assert backlog.text == 0


def test_a_part_told_again_takes_the_place_of_its_older_telling():
    first, other, last = running("a"), delta("x", "prt_2"), running("ab")
    assert merging(first, other, last) == [last, other]
    assert merging(told(text="a"), told(text="ab")) == [told(text="ab")]


def test_tools_that_run_side_by_side_are_merged_each_by_itself():
    one, two = running("a"), running("x", part="prt_2")
    assert merging(one, two, running("ab"), running("xy", part="prt_2"), delta("b", "prt_3")) == [
        running("ab"),
        running("xy", part="prt_2"),
        delta("b", "prt_3"),
    ]


def test_a_tool_that_ends_waits_beside_its_progress_and_holds_nothing_else_up():
    ended = told(part="prt_2", type="tool", state={"status": "completed", "metadata": {"output": "x"}})
    assert merging(delta("a"), running("x", part="prt_2"), ended, delta("b")) == [
        delta("ab"),
        running("x", part="prt_2"),
        ended,
    ]


def test_parts_that_stream_side_by_side_are_merged_each_by_itself():
    assert merging(delta("a"), delta("x", "prt_2"), delta("b"), delta("y", "prt_2")) == [
        delta("ab"),
        delta("xy", "prt_2"),
    ]


def test_sessions_that_stream_side_by_side_are_no_wall_to_each_other():
    assert merging(delta("a"), idle("ses_2"), delta("b")) == [delta("ab"), idle("ses_2")]


WALLS = [
    envelope(),
    MessageRemoved(session_id=SESSION, message_id="msg_1"),
    PartRemoved(session_id=SESSION, part_id="prt_1", message_id="msg_1"),
    asked(),
    SessionStatus(session_id=SESSION, status="busy"),
    TodosChanged(session_id=SESSION, todos=()),
    idle(),
    SessionFailed(session_id=SESSION, error={"name": "E"}),
    Unknown(session_id=SESSION, kind="moon.phase", properties={}),
    Gap(reason="the stream broke"),
    told("prt_9", text="another text"),
    told("prt_9", type="step-start"),
    running("", part="prt_9", sessionId="ses_2"),
]


@pytest.mark.parametrize("wall", WALLS, ids=lambda wall: type(wall).__name__)
def test_nothing_passes_an_event_that_order_matters_to(wall):
    for events in ([delta("a"), wall, delta("b")], [running("a"), wall, running("ab")]):
        assert merging(*events) == events


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (told(text="abc"), told(text="")),
        (told(text="abc "), told(text="abc")),
        (running("a"), told(type="tool", state={"status": "completed", "metadata": {"output": "ab"}})),
        (told(type="tool", state={"status": "completed"}), told(type="tool", state={"status": "completed"})),
        (told(type="tool", state={"status": "completed"}), told(type="tool", state={"status": "running"})),
        (told(type="tool", state={"status": "running"}), told(type="tool", state={"status": "pending"})),
        (running("a"), running("ab", sessionId="ses_2")),
        (running("a", sessionId="ses_2"), running("ab", sessionId="ses_2")),
        (told(type="file", url="a"), told(type="file", url="ab")),
        (told(type="tool", tool="bash"), told(type="text", text="a")),
        (told(type="tool", tool="bash"), told(type="text", tool="bash", text="a")),
        (
            told(type="tool", state={"status": "running", "metadata": {"a": 1}}),
            told(type="tool", state={"status": "running", "title": "b"}),
        ),
        (told(type="tool", state={"status": "running"}), told(type="tool", state="odd")),
        (told(type="tool", callID="call_1", tool="bash"), told(type="tool", tool="bash")),
        (told(text="a"), told(message="msg_2", text="a")),
        (told(text="a"), delta("b")),
        (delta("a"), told(text="a")),
        (delta("a"), delta("b", field="title")),
        (delta("a"), delta("b", message="msg_2")),
    ],
)
def test_what_says_less_or_something_else_waits_beside_the_older(older, newer):
    assert merging(older, newer) == [older, newer]


def test_a_part_is_never_merged_past_what_came_of_it_since():
    backlog = put_all(Backlog(merge_from=2), [idle(), idle(), delta("a")])
    assert [backlog.take(), backlog.take()] == [idle(), idle()]
    put_all(backlog, [told(text="a!"), delta("b"), idle(), delta("c"), delta("d")])
    assert drained(backlog) == [delta("a"), told(text="a!"), delta("b"), idle(), delta("cd")]


def test_what_was_taken_is_not_added_to_any_more():
    backlog = put_all(Backlog(merge_from=0), [delta("a"), delta("b")])
    taken = backlog.take()
    backlog.put(delta("c"))
    assert (taken, backlog.take(), backlog.take()) == (delta("ab"), delta("c"), None)


def test_heartbeats_and_repetitions_do_not_pile_up():
    busy = SessionStatus(session_id=SESSION, status="busy")
    backlog = Backlog(merge_from=1)
    put_all(backlog, [busy, Heartbeat(), busy, asked(), idle(), idle(), Heartbeat(), Gap(reason="1")])
    put_all(backlog, [Gap(reason="2"), idle()])
    assert drained(backlog) == [busy, asked(), idle(), Gap(reason="1"), idle()]


def test_the_same_text_twice_is_no_repetition():
    assert merging(delta("ha"), delta("ha")) == [delta("haha")]


def test_too_many_items_become_one_gap_after_which_all_goes_on():
    backlog = Backlog(merge_from=0, most_items=3)
    put_all(backlog, [asked("1"), asked("2"), asked("3"), asked("4"), asked("5")])
    gap, after = drained(backlog)
    assert isinstance(gap, Gap)
    assert gap.reason == "the subscriber fell behind: 4 events with 0 characters waited for it"
    assert after == asked("5")


def test_too_much_text_becomes_one_gap_however_few_events_hold_it(caplog):
    backlog = put_all(Backlog(merge_from=0, most_text=10), [delta("12345"), delta("67890")])
    assert (len(backlog), backlog.text) == (1, 10)
    backlog.put(delta("!"))
    assert [type(item) for item in drained(backlog)] == [Gap]
    assert "fell behind" in caplog.text


@pytest.mark.parametrize(
    "large",
    [
        told(type="tool", state={"output": "x" * 11}),
        Unknown(session_id=SESSION, kind="session.diff", properties={"diff": [{"after": "x" * 11}]}),
        PermissionAsked(
            session_id=SESSION, request_id="p", permission="edit", patterns=(), metadata={"diff": "x" * 11}
        ),
        SessionFailed(session_id=SESSION, error={"message": "x" * 11}),
        envelope(error={"message": "x" * 11}),
    ],
    ids=lambda event: type(event).__name__,
)
def test_one_event_is_never_too_large_but_no_second_waits_beside_it(large):
    backlog = put_all(Backlog(most_text=10), [large])
    assert drained(backlog) == [large]
    put_all(backlog, [large, idle()])
    assert [type(item) for item in drained(backlog)] == [Gap]


def test_the_end_of_the_stream_is_told_however_far_a_subscriber_fell_behind():
    end = OSError("the stream has ended")
    backlog = Backlog(merge_from=0, most_items=2)
    put_all(backlog, [asked("1"), end, asked("2"), asked("3")])
    gap, ending = drained(backlog)
    assert isinstance(gap, Gap)
    assert ending is end


ids = st.sampled_from(["prt_1", "prt_2", "prt_3"])
messages = st.sampled_from(["msg_1", "msg_2"])
sessions = st.sampled_from([SESSION, SESSION, SESSION, "ses_2"])
words = st.sampled_from(["", "a", "ab", "abc", "b"])
states = st.fixed_dictionaries(
    {"status": st.sampled_from(["pending", "running", "completed"])},
    optional={
        "input": st.dictionaries(st.just("command"), words, max_size=1),
        "output": words,
        "title": words,
        "metadata": st.dictionaries(st.sampled_from("xy"), words)
        | st.just({"sessionId": "ses_2"})
        | st.just({"todos": [{"content": "a"}]}),
    },
)
contents = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "reasoning"]), "text": words},
        optional={"time": st.sampled_from([{"start": 1}, {"start": 1, "end": 2}])},
    ),
    st.fixed_dictionaries(
        {"type": st.just("tool"), "state": states},
        optional={"tool": st.sampled_from(["bash", "todowrite"]), "callID": st.just("call_1")},
    ),
    st.fixed_dictionaries({"type": st.just("file")}, optional={"url": words, "mime": words}),
    st.fixed_dictionaries({"type": st.just("step-start")}),
)
# As a server does it: a part belongs to one message. (That is not needed to merge, but makes replies richer.)
homes = {"prt_1": "msg_1", "prt_2": "msg_1", "prt_3": "msg_2"}
deltas = st.builds(
    lambda text, part, session, field: delta(text, part, homes[part], session, field),
    words,
    ids,
    sessions,
    st.sampled_from(["text", "text", "text", "title"]),
)
tellings = st.builds(
    lambda content, part, session: told(part, homes[part], session, **content), contents, ids, sessions
)
strays = st.builds(delta, words, ids, messages)
others = st.one_of(
    st.builds(envelope, messages, sessions, completed=st.booleans()),
    st.builds(MessageRemoved, session_id=sessions, message_id=messages),
    st.builds(PartRemoved, session_id=sessions, part_id=ids, message_id=messages),
    st.builds(asked, st.sampled_from(["per_1", "per_2"]), sessions),
    st.builds(idle, sessions),
    st.builds(Heartbeat),
    st.builds(Gap, reason=words),
    st.builds(TodosChanged, session_id=sessions, todos=st.just(({"content": "b"},))),
    st.builds(SessionStatus, session_id=sessions, status=st.sampled_from(["busy", "idle"])),
    st.just(SessionChanged(session_id="ses_2", created=True, parent_id=SESSION, title=None)),
    st.builds(SessionFailed, session_id=sessions, error=st.just({"name": "E"})),
)
TAKE = object()
histories = st.lists(
    st.one_of(deltas, deltas, tellings, tellings, strays, others, st.just(TAKE)), max_size=60
).map(lambda steps: [envelope("msg_1"), envelope("msg_2"), *steps])


def through(backlog, steps, *, drain=True):
    """What comes out if some of it is taken while it is put."""
    taken = []
    for step in steps:
        if step is not TAKE:
            backlog.put(step)
        elif (item := backlog.take()) is not None:
            taken.append(item)
    return taken + (drained(backlog) if drain else [])


@given(histories, st.integers(0, 4))
def test_a_merged_history_folds_into_the_same_reply(steps, merge_from):
    backlog = Backlog(merge_from=merge_from)
    original = [step for step in steps if step is not TAKE]
    merged = through(backlog, steps)
    assert folded(merged) == folded(original)
    assert len(merged) <= len(original)
    assert backlog.text == 0
    assert not backlog._open


@given(histories, st.integers(0, 4))
def test_whatever_is_not_of_a_part_comes_in_its_order(steps, merge_from):
    def walls(events):
        kept = []
        for event in events:
            last = kept[-1] if kept else None
            repeated = event == last or (isinstance(event, Gap) and isinstance(last, Gap))
            if not isinstance(event, PartDelta | PartChanged | Heartbeat) and not repeated:
                kept.append(event)
        return kept

    merged = through(Backlog(merge_from=merge_from), steps)
    assert walls(merged) == walls(step for step in steps if step is not TAKE)


@given(histories, st.integers(0, 4), st.integers(1, 30), st.integers(1, 60))
def test_what_waits_is_bounded_and_nothing_is_dropped_untold(steps, merge_from, most_items, most_text):
    backlog = Backlog(merge_from=merge_from, most_items=most_items, most_text=most_text)
    taken = []
    for step in steps:
        taken += through(backlog, [step], drain=False)
        assert len(backlog) <= most_items
        assert backlog.text <= most_text or len(backlog) == 1
    taken += drained(backlog)
    if not any(isinstance(item, Gap) and "fell behind" in item.reason for item in taken):
        assert folded(taken) == folded(step for step in steps if step is not TAKE)


def seconds(count, backlog):
    pieces = [delta("four", f"prt_{number % 50}") for number in range(count)]
    began = time.thread_time()
    put_all(backlog, pieces)
    return time.thread_time() - began


def test_adding_to_a_long_text_costs_no_more_than_to_a_short_one():
    unbounded = {"merge_from": 0, "most_text": 10**9}
    short = min(seconds(5_000, Backlog(**unbounded)) for _ in range(5))
    long = put_all(Backlog(**unbounded), [delta("x" * 2_000_000, f"prt_{number}") for number in range(50)])
    # To copy the text would cost a thousand times.
    assert min(seconds(5_000, long) for _ in range(5)) < 10 * short


def test_a_stuck_thread_costs_the_reader_nothing_and_gets_all_text_in_few_events():
    mailbox = Threads().mailbox(Backlog())
    began = time.thread_time()
    for _ in range(50_000):
        mailbox.put(delta("four"))
    assert time.thread_time() - began < 5
    text, taken = "", 0
    while (event := run_sync(mailbox.get(0))) is not None:
        text += event.delta
        taken += 1
    assert text == "four" * 50_000
    assert taken == 65


def test_a_thread_that_waits_is_woken():
    mailbox = Threads().mailbox(Backlog())
    threading.Timer(0.05, mailbox.put, [idle()]).start()
    assert run_sync(mailbox.get(5)) == idle()


def test_a_task_falls_behind_and_is_told_as_a_thread_is():
    async def main():
        mailbox = Tasks().mailbox(Backlog())
        assert await mailbox.get(0.01) is None
        for number in range(1_001):
            mailbox.put(asked(str(number)))
        mailbox.put(idle())
        return [await mailbox.get(1), await mailbox.get(1), await mailbox.get(0)]

    gap, after, nothing = asyncio.run(main())
    assert isinstance(gap, Gap)
    assert (after, nothing) == (idle(), None)


def test_json_of_any_depth_is_weighed():
    deep = "x"
    for _ in range(5_000):
        deep = [deep]
    backlog = put_all(Backlog(), [told(type="tool", state={"input": {"deep": deep}})])
    assert backlog.text == len("prt_1" + "msg_1" + "tool" + "x")
