"""`Turn.stream`: a turn as an iterator of its events, and what closing it does to the turn."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing

import pytest
from fix_cli import eventually
from selection import sample

from opencode_sessions import (
    READ_ONLY,
    ConfigurationError,
    FirstToken,
    ReplyChanged,
    Session,
    SessionCreated,
    SessionEnsured,
    Turn,
    TurnFinished,
    TurnFound,
    TurnInProgressError,
    TurnStarted,
    TurnStatus,
    TurnTaken,
    aio,
)
from opencode_sessions.runtime import streaming
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord

SAID = "one two three four five six"
STORY = f"!say {SAID}"


@pytest.fixture
def record():
    return MemoryRecord("A streamed turn")


@pytest.fixture(params=sample(["sync", "async"]))
def stream(request, server):
    """Call it for the events of a turn until `stop_after` returns True for one: `stream(message, record)`."""

    def sync_events(message, session, stop_after, on_close, options):
        turn = Turn(message, Session(**session), request.getfixturevalue("client"), **options)
        with closing(turn.stream(on_close=on_close)) as events:
            return upto(events, stop_after)

    async def async_events(message, session, stop_after, on_close, options):
        async with aio.Client(server.url, password=server.password) as client:
            turn = aio.Turn(message, aio.Session(**session), client, **options)
            async with aclosing(turn.stream(on_close=on_close)) as events:
                told = []
                async for event in events:
                    told.append(event)
                    if stop_after(event):
                        break
            if streaming._running:  # asyncio.run would cancel it
                await asyncio.wait(streaming._running)
            return told

    def start(message, record, stop_after=lambda _: False, *, on_close="continue", on_error=None, **options):
        session = {"record": record, "permissions_for": READ_ONLY, "on_error": on_error}
        if request.param == "sync":
            return sync_events(message, session, stop_after, on_close, options)
        return asyncio.run(async_events(message, session, stop_after, on_close, options))

    return start


def upto(events, stop_after):
    told = []
    for event in events:
        told.append(event)
        if stop_after(event):
            break
    return told


def at_first_word(event):
    return isinstance(event, ReplyChanged) and event.change.delta.strip() == "one"


@pytest.mark.parametrize("stream", ["sync", "async"], indirect=True)
def test_the_events_of_a_turn_come_in_order_and_end_with_its_result(stream, record):
    message = MemoryMessage(STORY)
    told = stream(message, record)
    begins = [TurnFound, TurnTaken, SessionEnsured, SessionCreated, TurnStarted]
    assert [type(each) for each in told[:5]] == begins
    assert sum(isinstance(each, FirstToken) for each in told) == 1
    assert "".join(each.change.delta for each in told if isinstance(each, ReplyChanged)) == SAID
    (finished,) = (each for each in told if isinstance(each, TurnFinished))
    assert told[-1] is finished
    assert (finished.result.status, finished.result.content) == (TurnStatus.COMPLETED, SAID)
    assert message.state.content == SAID


def test_events_come_while_the_answer_grows(stream, record, held):
    message = MemoryMessage(STORY)

    def sees(event):
        if at_first_word(event):
            assert message.state.status is TurnStatus.STREAMING
            held.set()
        return False

    assert stream(message, record, sees)[-1].result.content == SAID


def test_a_turn_that_has_ended_gives_its_result_alone(stream, record):
    message = MemoryMessage(STORY)
    stream(message, record)
    (finished,) = stream(message, record)
    assert finished.result.content == SAID


@pytest.mark.parametrize("stream", ["sync", "async"], indirect=True)
def test_a_turn_whose_iterator_is_closed_runs_on(stream, record, held):
    message = MemoryMessage(STORY)

    def leave(event):
        if at_first_word(event):
            held.set()
            return True
        return False

    told = stream(message, record, leave)
    assert not isinstance(told[-1], TurnFinished)
    eventually(lambda: message.state.status is TurnStatus.COMPLETED)
    assert message.state.content == SAID


def test_closing_stops_the_turn_if_the_caller_says_so(stream, record, held, client):
    message = MemoryMessage(STORY)
    stream(message, record, at_first_word, on_close="stop")
    assert message.state.status is TurnStatus.CANCELLED
    assert message.state.error["by"] == "stream"
    eventually(lambda: not client.busy(record.opencode_session_id))


def test_closing_releases_the_turn_if_the_caller_says_so(stream, record, held, client):
    message = MemoryMessage(STORY)
    stream(message, record, at_first_word, on_close="release")
    assert (message.state.status, message.state.abandoned) == (TurnStatus.STREAMING, True)
    assert client.busy(record.opencode_session_id)
    held.set()
    assert stream(message, record)[-1].result.content == SAID


def test_what_the_turn_raises_is_raised_while_somebody_iterates(stream, record):
    message = MemoryMessage(STORY)
    store = MemoryMessageStore(message)
    run_sync(store.take(run_sync(store.load()), 60.0))
    with pytest.raises(TurnInProgressError):
        stream(message, record)


def test_what_the_turn_raises_after_that_is_reported(stream, record, held):
    class Gone(MemoryMessageStore):
        async def finish(self, epoch, state):
            raise ZeroDivisionError

    reported = []
    message = MemoryMessage(STORY)

    def leave(event):
        if at_first_word(event):
            held.set()
            return True
        return False

    def report(error, context):
        reported.append((type(error), context.action))

    stream(message, record, leave, on_error=report, store=Gone(message))
    eventually(lambda: reported)
    assert reported == [(ZeroDivisionError, "stream")]


def test_a_cancelled_task_closes_the_iterator_and_the_turn_runs_on(server, record, held):
    message = MemoryMessage(STORY)

    async def show(turn, begun):
        async for event in turn.stream():
            if at_first_word(event):
                begun.set()

    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            turn = aio.Turn(message, aio.Session(record, permissions_for=READ_ONLY), client)
            begun = asyncio.Event()
            showing = asyncio.create_task(show(turn, begun))
            await begun.wait()
            showing.cancel()
            await asyncio.wait({showing})
            assert showing.cancelled()
            assert message.state.status is TurnStatus.STREAMING
            held.set()
            await asyncio.to_thread(eventually, lambda: message.state.status is TurnStatus.COMPLETED)

    asyncio.run(main())


def test_another_word_for_what_closing_does_is_refused_at_once(client, record):
    turn = Turn(MemoryMessage(STORY), Session(record, permissions_for=READ_ONLY), client)
    with pytest.raises(ConfigurationError, match="on_close must be one of continue, stop, release"):
        turn.stream(on_close="leave")


def test_several_listeners_are_told_and_one_that_raises_stops_no_other(client, record):
    told, reported = [], []

    def clumsy(event):
        raise ZeroDivisionError

    session = Session(record, permissions_for=READ_ONLY, on_error=lambda *what: reported.append(what))
    result = Turn(MemoryMessage(STORY), session, client, observer=[clumsy, told.append]).run()
    assert told[-1] == TurnFinished(result)
    assert len(reported) == len(told)


@pytest.mark.parametrize("observer", [7, "print", [print, None]])
def test_what_cannot_be_told_of_a_turn_is_refused(client, record, observer):
    with pytest.raises(ConfigurationError, match="a function that takes a TurnEvent"):
        Turn(MemoryMessage(STORY), Session(record), client, observer=observer)
