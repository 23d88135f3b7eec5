"""A turn's whole story, as an observer is told it and as the log tells it: on the real server."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from fix_cli import eventually
from selection import sample

from opencode_sessions import Answer, Client, Deadlines, Observer, Session, Turn, allow, ask, errors
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import FaultProxy
from opencode_sessions.turns.follower import EventFollower

ASKING = '!tool bash {"command": "true", "description": "nothing"}\n!say done'
SAID = "one two three four five six seven eight"
HELD = f"!say {SAID}"  # for what is let go on
SLOW = "!slow 0.5\n!say " + "word " * 200  # for what is cut short

EVERY_RECORD = {"message_key", "session_id", "prompt_id"}
"""What every record of a turn that has a prompt should say of it."""

SHOULD_SAY = {
    "created": {"message_key", "session_id", "replaced"},
    "started": EVERY_RECORD,
    "recovered": EVERY_RECORD,
    "first_token": {*EVERY_RECORD, "seconds"},
    "asked": {*EVERY_RECORD, "ask_id", "kind"},
    "answered": {*EVERY_RECORD, "ask_id", "seconds"},
    "gap": {*EVERY_RECORD, "reason"},
    "finished": {*EVERY_RECORD, "status", "duration", "first_token"},
    "cancelled": {*EVERY_RECORD, "by"},
}
"""By what an observer is told, which is to be the record's `event`: what is to be in its `extra`."""


class Diary(Observer):
    """Every call, in order; of those about the answer's growth only that it grew between two others."""

    def __init__(self):
        self.told = []
        self.finished_in = None

    @property
    def story(self):
        return [name for name, *_ in self.told if name not in ("changed", "status")]

    def of(self, name):
        return [facts for each, *facts in self.told if each == name]

    def created(self, session_id, replaced):
        self.told.append(("created", session_id, replaced))

    def started(self, session_id, prompt_id):
        self.told.append(("started", session_id, prompt_id))

    def recovered(self, session_id, prompt_id):
        self.told.append(("recovered", session_id, prompt_id))

    def first_token(self, seconds):
        self.told.append(("first_token", seconds))

    def changed(self, change, reply):
        self.told.append(("changed", change.part.type))

    def status(self, status):
        self.told.append(("status", status.status))

    def asked(self, ask):
        self.told.append(("asked", ask.id, ask.permission))

    def answered(self, ask):
        self.told.append(("answered", ask.id, ask.permission))

    def gap(self, reason):
        self.told.append(("gap", reason))

    def finished(self, result):
        self.told.append(("finished", result))
        self.finished_in = threading.current_thread()


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def record():
    return MemoryRecord("A story")


@pytest.fixture
def logged(caplog):
    """The records that tell of turns."""
    caplog.set_level(logging.DEBUG, "opencode_sessions.turn")
    return lambda: [record for record in caplog.records if record.name == "opencode_sessions.turn"]


def turn_of(message, record, client, **options):
    session = Session(record, permissions_for=lambda _: [allow("*"), ask("bash")])
    return Turn(message, session, client, **options)


@pytest.fixture
def eventful(server, record, diary):
    """A turn in whose first session the agent asks, and the line breaks before it is answered."""
    with (
        FaultProxy(server.url) as proxy,
        Client(proxy.url, password=server.password) as client,
    ):

        def answer(_):
            proxy.cut()
            eventually(lambda: diary.of("gap"))
            return Answer.once()

        yield turn_of(MemoryMessage(ASKING), record, client, on_ask=answer, observer=diary)


@pytest.fixture
def resettled(client, record, diary):
    """A turn whose session is gone when its prompt arrives."""
    gone = Session(record).ensure(client)
    client.delete(gone)
    return turn_of(MemoryMessage("hello"), record, client, observer=diary), gone


@pytest.fixture
def inherited(client, record, diary, held):
    """A turn whose runner has lost it in the middle of the answer."""
    message = MemoryMessage(HELD)

    def lose():
        with pytest.raises(errors.TurnTakenError):
            turn_of(message, record, client).run()

    first = threading.Thread(target=lose)
    first.start()
    eventually(lambda: message.state.content)
    message.row["opencode_turn_epoch"] += 1
    message.row["opencode_turn_lease"] = None
    held.set()
    first.join(60)
    return turn_of(message, record, client, observer=diary)


# -- as an observer is told it ---------------------------------------------------------------------------


def test_an_eventful_turn_is_told_in_order(eventful, record, diary):
    result = eventful.run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert diary.story == ["created", "started", "first_token", "asked", "gap", "answered", "finished"]
    assert diary.of("created") == [[record.opencode_session_id, None]]
    assert diary.of("started") == [[result.session_id, result.prompt_id]]
    assert diary.of("first_token") == [[result.first_token]]
    assert diary.of("asked") == diary.of("answered")
    assert diary.of("asked")[0][1] == "bash"
    assert diary.of("finished") == [[result]]
    assert diary.told[-1] == ("finished", result)
    assert diary.finished_in is threading.current_thread()


def test_an_ask_is_told_to_be_answered_though_a_look_finds_the_end_of_the_turn_first(
    client, record, diary, monkeypatch
):
    looks, busy = threading.Event(), EventFollower._busy

    async def end_meanwhile(follower):
        if diary.of("asked") and not looks.is_set():
            looks.set()
            while await busy(follower):
                time.sleep(0.05)  # noqa: ASYNC251 - the turn blocks
        return await busy(follower)

    def answer(_):
        assert looks.wait(60)
        return Answer.once()

    monkeypatch.setattr(EventFollower, "_busy", end_meanwhile)
    options = {"on_ask": answer, "observer": diary, "deadlines": Deadlines(look=0.3)}
    assert turn_of(MemoryMessage(ASKING), record, client, **options).run().content == "done"
    assert diary.story == ["created", "started", "first_token", "asked", "answered", "finished"]


def test_the_answer_grows_between_its_first_token_and_the_end(eventful, diary):
    eventful.run()
    told = [name for name, *_ in diary.told]
    grew = [place for place, name in enumerate(told) if name == "changed"]
    assert told.index("first_token") < grew[0]
    assert grew[-1] < told.index("finished")
    assert ("status", "busy") in diary.told


def test_a_session_that_was_gone_is_told_with_the_one_in_its_place(resettled, diary):
    turn, gone = resettled
    result = turn.run()
    assert diary.story == ["created", "started", "first_token", "finished"]
    assert diary.of("created") == [[result.session_id, gone]]


def test_a_prompt_that_was_found_is_told_as_that_and_not_as_sent(inherited, diary):
    result = inherited.run()
    assert result.content == SAID
    assert diary.story == ["recovered", "first_token", "finished"]
    assert diary.of("recovered") == [[result.session_id, result.prompt_id]]


def test_a_turn_that_is_cancelled_elsewhere_is_told_to_have_ended_once(client, record, diary, logged):
    message, results = MemoryMessage(SLOW), []
    runner = threading.Thread(
        target=lambda: results.append(turn_of(message, record, client, observer=diary).run())
    )
    runner.start()
    eventually(lambda: message.state.content)
    elsewhere = Diary()
    assert turn_of(message, record, client, observer=elsewhere).cancel(by="ada")
    runner.join(60)
    (result,) = results
    assert diary.story == ["created", "started", "first_token", "finished"]
    assert diary.of("finished") == [[result]]
    assert (result.status, result.error["by"]) == (TurnStatus.CANCELLED, "ada")
    assert 0 < result.first_token < result.duration
    assert elsewhere.told == []
    ended = [each for each in logged() if getattr(each, "event", None) in ("cancelled", "finished")]
    assert sorted(each.event for each in ended) == ["cancelled", "finished"]
    for each in ended:
        assert vars(each).keys() >= SHOULD_SAY[each.event]
        assert (each.session_id, each.prompt_id) == (result.session_id, result.prompt_id)
    assert [each.by for each in ended if each.event == "cancelled"] == ["ada"]


@pytest.mark.full
def test_a_turn_that_is_cancelled_before_its_prompt_is_sent_is_told_to_have_ended(client, record, diary):
    message = MemoryMessage("never")

    def rules(_):
        turn_of(message, record, client).cancel(by="ada")
        return [allow("*")]

    result = Turn(message, Session(record, permissions_for=rules), client, observer=diary).run()
    assert (result.status, result.error["by"]) == (TurnStatus.CANCELLED, "ada")
    assert (result.duration > 0, result.first_token) == (True, None)
    assert diary.story[-1:] == ["finished"]
    assert "started" not in diary.story
    assert list(client.messages(record.opencode_session_id)) == []
    assert turn_of(MemoryMessage("hello"), record, client).run().status is TurnStatus.COMPLETED


def test_a_turn_whose_row_is_deleted_before_its_prompt_is_sent_stops_nothing_and_says_so(
    client, record, carried
):
    message = MemoryMessage("never")
    store = MemoryMessageStore(message)

    async def load():
        raise errors.RecordGoneError("the row was deleted", record=store.key)

    def rules(_):
        message.row["opencode_turn_epoch"] += 1  # as no write meets a row that is gone
        store.load = load
        return [allow("*")]

    turn = Turn(message, Session(record, permissions_for=rules), client, store=store)
    with pytest.raises(errors.RecordGoneError):
        turn.run()
    assert not [each for each in carried if "prompt_async" in each or each.endswith("/abort")]
    assert turn_of(MemoryMessage("hello"), record, client).run().status is TurnStatus.COMPLETED


def test_a_turn_that_its_runner_is_broken_off_in_is_told_to_have_ended(client, record, diary):
    message = MemoryMessage(SLOW)

    def interrupt(change, reply):
        if reply.text:
            diary.changed = lambda *_: None
            raise KeyboardInterrupt

    diary.changed = interrupt
    with pytest.raises(KeyboardInterrupt):
        turn_of(message, record, client, observer=diary).run()
    assert diary.story == ["created", "started", "first_token", "finished"]
    ((result,),) = diary.of("finished")
    assert (result.status, result.error["by"]) == (TurnStatus.CANCELLED, "runner")
    assert result.content == message.state.content != ""


# -- as the log tells it ---------------------------------------------------------------------------------


def test_the_log_says_of_what_was_sent_and_ended_whose_it_was_and_how_long_it_took(client, record, logged):
    message = MemoryMessage("hello")
    result = turn_of(message, record, client).run()
    sent, ended = (
        next(each for each in logged() if getattr(each, "event", None) == event)
        for event in ("started", "finished")
    )
    facts = (f"memory:{message.number}", result.session_id, result.prompt_id)
    for each in (sent, ended):
        assert (each.message_key, each.session_id, each.prompt_id) == facts
    assert "is completed" in ended.getMessage()
    assert (ended.status, ended.duration) == ("completed", result.duration)


@pytest.mark.full
def test_the_log_says_that_a_prompt_was_found_where_another_runner_left_it(inherited, logged):
    result = inherited.run()
    found = next(each for each in logged() if "is recovered" in each.getMessage())
    assert (found.session_id, found.prompt_id) == (result.session_id, result.prompt_id)


@pytest.mark.full
def test_the_log_names_the_ask_that_an_agent_waits_for(eventful, diary, logged):
    eventful.run()
    ((ask_id, _),) = diary.of("asked")
    assert [each.ask_id for each in logged() if hasattr(each, "ask_id")] == [
        ask_id,
        ask_id,
    ]  # asked, answered


@pytest.mark.parametrize("kind", sample(["eventful", "resettled", "inherited"]))
def test_the_log_tells_the_story_that_an_observer_is_told(request, diary, logged, kind):
    turn = request.getfixturevalue(kind)
    turn = turn[0] if kind == "resettled" else turn
    before = len(logged())
    turn.run()
    records = [each for each in logged()[before:] if each.levelno == logging.INFO]
    assert [each.event for each in records] == diary.story
    for each in records:
        assert vars(each).keys() >= SHOULD_SAY[each.event]
