"""Vercel and AG-UI: whoever applies what is sent keeps what the row says, wherever the changes were cut."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from chat_readers import AguiReader, VercelReader
from fuzz_target import decoded, folded, recordings
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reply_events import PROMPT, SESSION, assistant, begun, delta, fold, part, tool
from watched_rows import ROW, text

from opencode_sessions.frontends.agui import AGUI
from opencode_sessions.frontends.vercel import VERCEL
from opencode_sessions.live import RenderContext
from opencode_sessions.live.feed import Feed
from opencode_sessions.live.live_reply import LiveReply
from opencode_sessions.live.view import view_of_row
from opencode_sessions.protocol.reply import Reply

CONTEXT = RenderContext(turn="messages-1", thread="t", run="r")
READERS = {VERCEL: VercelReader, AGUI: AguiReader}
PROTOCOLS = pytest.mark.parametrize("encoder", [VERCEL, AGUI], ids=["vercel", "agui"])


class Told:
    """A turn that is told to one who watches it.

    Attributes:
        reader: What the one who watches does with it.
    """

    def __init__(self, encoder):
        self.encoder, self.feed, self.seen = encoder, Feed(), 0
        self.reader = READERS[encoder]()
        self.reader.take(encoder.begin(CONTEXT))

    def show(self, row):
        self.feed.take(view_of_row(row, self.feed.view, CONTEXT, frozenset([self.encoder])))

    def read(self):
        self.reader.take(self.feed.since(self.seen, self.encoder, CONTEXT))
        self.seen = self.feed.version

    def end(self, status):
        self.reader.take(self.encoder.end(CONTEXT, self.feed.view, status))

    @property
    def kept(self):
        return getattr(self.reader, "parts", None) or getattr(self.reader, "messages", [])


def afresh(encoder, row):
    """What is kept of a row by whoever is told all of it at once."""
    told = Told(encoder)
    told.show(row)
    told.read()
    return told.kept


def in_order(kept):
    """But for a todo list, which stays where it first came."""
    return sorted(kept, key=lambda each: "todos" in json.dumps(each)[:120])


@PROTOCOLS
@pytest.mark.parametrize("name", sorted(recordings()))
@given(lags=st.lists(st.integers(1, 30), min_size=1))
@settings(max_examples=5)
def test_a_recorded_turn_is_kept_as_its_row_has_it(encoder, name, lags):
    events = decoded(recordings()[name])
    whole = folded(events)
    reply = Reply(whole.session_id, whole.prompt_id)
    told, live, waits = Told(encoder), LiveReply(reply, CONTEXT), 0
    row = replace(ROW, status="streaming", revision=1, opencode_prompt_id=reply.prompt_id)
    for number, event in enumerate(events):
        dirty = {change.part.id for change in reply.apply(event)}
        view = live.view(dirty, row, {}, frozenset([encoder])) if dirty else None
        if view is not None:
            told.feed.take(view)
        waits -= 1
        if waits <= 0:
            told.read()
            waits = lags[number % len(lags)]
    row = replace(row, status="completed", revision=2, parts=reply.to_json(), content=reply.text)
    told.show(row)
    told.read()
    told.end("completed")
    assert in_order(told.kept) == in_order(afresh(encoder, row))


WAITING = {"id": "per_1", "kind": "permission", "permission": "bash", "patterns": ["ls"], "session_id": SESSION,
           "call_id": "call_1", "metadata": {"command": "ls"}}  # fmt: skip
OUTPUT = {"status": "completed", "input": {"filePath": "/a"}, "output": "ok", "title": "a"}
STEPS = st.sampled_from(
    ["text", "more", "think", "call", "run", "done", "fail", "edit", "drop", "ask", "answer"]
)


def grown(reply, step, number):
    """Let the answer change so."""
    match step:
        case "text" | "think":
            kind = "text" if step == "text" else "reasoning"
            fold(reply, part(f"prt_{number:03}", kind, text=f"word {number} "))
        case "more":
            for each in [*reply.parts.values()][-1:]:
                fold(reply, delta(each.id, f"and {number} "))
        case "call" | "run" | "done" | "fail":
            status = {"call": "pending", "run": "running", "fail": "error"}.get(step)
            told = (
                OUTPUT if step == "done" else {"status": status, "input": {"filePath": "/a"}, "error": "no"}
            )
            fold(reply, tool("prt_tool", **told))
        case "edit":
            for each in [*reply.parts.values()][:1]:
                if each.type in ("text", "reasoning"):
                    each.text = f"other words {number}"
        case "drop":
            for name in [*reply.parts][:1]:
                del reply.parts[name]


ANSWERED = [(step, True) for step in ("call", "ask", "answer", "run", "done")]


@PROTOCOLS
@example(steps=ANSWERED, status="completed")
@given(
    steps=st.lists(st.tuples(STEPS, st.booleans()), max_size=25),
    status=st.sampled_from(["completed", "cancelled"]),
)
def test_whatever_changes_is_kept_as_the_row_has_it(encoder, steps, status):
    reply, told, asks = begun(), Told(encoder), []
    fold(reply, assistant())
    for number, (step, reads) in enumerate(steps):
        grown(reply, step, number)
        asks = [WAITING] if step == "ask" else [] if step == "answer" else asks
        row = replace(
            ROW,
            status="streaming",
            revision=number + 1,
            parts=reply.to_json(),
            content=reply.text,
            asks=asks,
            cost=float(number // 5),
            opencode_prompt_id=PROMPT,
        )
        told.show(row)
        if reads:
            told.read()
    row = replace(ROW, status=status, revision=99, parts=reply.to_json(), content=reply.text)
    told.show(row)
    told.read()
    told.end(status)
    assert told.kept == afresh(encoder, row)
    standing = told.reader.metadata if encoder is VERCEL else told.reader.custom["opencode.turn"]
    assert (standing["status"], standing["revision"]) == (status, 99)


@PROTOCOLS
def test_a_text_that_only_grows_is_sent_once(encoder):
    told, said = Told(encoder), ""
    for number in range(200):
        said += f"word {number} "
        told.show(replace(ROW, status="streaming", revision=number + 1, parts=[text(said)]))
        told.read()
    told.show(replace(ROW, status="completed", revision=201, parts=[text(said)], content=said))
    told.read()
    told.end("completed")
    assert getattr(told.reader, "resets", None) in (None, 0)
    assert getattr(told.reader, "snapshots", 1) == 1
    assert said.strip() in json.dumps(told.kept)


def call(name, tool="bash", **more):
    told = {"call_id": name, "status": "running", "input": {"command": "ls"}, **more}
    return {"id": f"prt_{name}", "message_id": "msg_1", "type": "tool", "tool": tool, **told}


ASKED = call("call_1")
AGENT = call("call_2", "task", input={"description": "look"}, metadata={"sessionId": "ses_child"})
CHILD, DEEP = (
    {**WAITING, "session_id": "ses_child"},
    {**WAITING, "session_id": "ses_deep", "call_id": "call_9"},
)


@PROTOCOLS
@pytest.mark.parametrize(
    ("parts", "asks", "rests"),
    [
        ([ASKED], [WAITING], True),
        ([ASKED, call("call_3", status="completed")], [WAITING], True),
        ([ASKED, call("call_3")], [WAITING], False),
        ([ASKED], [], False),
        ([AGENT], [CHILD], True),
        ([AGENT], [DEEP], True),
        ([AGENT, call("call_3")], [DEEP], False),
    ],
)
def test_a_stream_ends_where_all_that_is_not_over_waits(encoder, parts, asks, rests):
    told = Told(encoder)
    told.show(replace(ROW, status="streaming", revision=1, parts=parts, asks=asks))
    told.read()
    assert encoder.rests(told.feed.view) == rests
    if rests:
        told.end("streaming")
    if encoder is VERCEL and asks:
        name = "per_1" if asks == [DEEP] else parts[0]["id"]
        assert [part[2] for part in told.kept if part[:2] == ["tool", name]] == ["approval-requested"]
    if encoder is AGUI and rests:
        (interrupt,) = told.reader.last["outcome"]["interrupts"]
        known = None if asks == [DEEP] else parts[0]["id"]
        assert (interrupt["id"].partition(":")[0], interrupt.get("toolCallId")) == ("per_1", known)


def test_a_model_that_stops_early_gives_its_reason():
    for reason, said in (("length", "length"), ("content-filter", "content-filter"), ("odd", "other")):
        told = Told(VERCEL)
        told.show(
            replace(
                ROW, status="completed", revision=1, parts=[text("a"), {"type": "finish", "reason": reason}]
            )
        )
        told.read()
        told.end("completed")
        assert told.reader.end == said


def test_a_picture_with_an_address_is_a_file_and_one_without_is_data():
    data = {"mime": "image/png", "url": "data:image/png;base64,AAAA", "filename": "a.png"}
    files = [{"id": f"prt_{name}", "type": "file", "data": each} for name, each in
             (("1", data), ("2", {**data, "url": ""}))]  # fmt: skip
    told = Told(VERCEL)
    told.show(replace(ROW, status="completed", revision=1, parts=files))
    told.read()
    assert [part[0] for part in told.kept] == ["file", "data-file"]
