"""An async function, where nobody would await it, is refused when it is given or else when it was called."""

from __future__ import annotations

import asyncio

import pytest

from opencode_sessions import READ_ONLY, Client, ErrorContext, Observer, Session, Turn, aio
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.reporting import ErrorReporter
from opencode_sessions.sessions.spec import SessionSpec
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.turns.events import EventsMissed, ReplyChanged
from opencode_sessions.turns.observers import Listeners
from opencode_sessions.turns.results import said_of

REFUSED = "must not be async, also with opencode_sessions.aio: nobody would await it"


async def coroutine_function(*_):
    raise AssertionError("nobody awaits it")


class WithAsyncCall:
    async def __call__(self, *_):
        raise AssertionError("nobody awaits it")


def looks_ordinary(*arguments):
    return coroutine_function(*arguments)


@pytest.mark.parametrize("session", [Session, aio.Session])
@pytest.mark.parametrize("function", [coroutine_function, WithAsyncCall()])
@pytest.mark.parametrize("name", ["permissions_for", "on_error"])
def test_an_async_function_is_refused_by_the_session(session, name, function):
    with pytest.raises(ConfigurationError, match=f"^{name} {REFUSED}"):
        session(MemoryRecord(), **{name: function})


def test_an_async_fallback_is_refused_by_the_turn():
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(ConfigurationError, match=f"fallback {REFUSED}"),
    ):
        Turn(MemoryMessage("hello"), Session(MemoryRecord()), client, fallback=coroutine_function)
    with pytest.raises(ConfigurationError, match=f"^fallback {REFUSED}"):
        said_of({}, looks_ordinary)


def test_an_async_handler_of_asks_is_refused_by_the_sync_turn():
    with Client("http://127.0.0.1:1") as client, pytest.raises(ConfigurationError, match="on_ask must be an"):
        Turn(MemoryMessage("hello"), Session(MemoryRecord()), client, on_ask=WithAsyncCall())


def test_rules_that_must_be_awaited_are_refused_before_anything_is_stored():
    async def ensure():
        record = MemoryRecord()
        async with aio.Client("http://127.0.0.1:1") as client:
            with pytest.raises(ConfigurationError, match=f"^permissions_for {REFUSED}"):
                await aio.Session(record, permissions_for=looks_ordinary).ensure(client)
        return record.opencode_session_id

    assert asyncio.run(ensure()) is None


@pytest.mark.parametrize("name", ["opencode_title", "opencode_directory"])
def test_an_async_property_of_a_record_is_refused(name):
    record = type("Trip", (), {name: property(coroutine_function)})()
    with pytest.raises(ConfigurationError, match=f"^{name} {REFUSED}"):
        SessionSpec.of(record, READ_ONLY)


def test_a_title_that_is_a_method_is_refused():
    record = type("Trip", (), {"title": lambda _: "Rome"})()
    with pytest.raises(ConfigurationError, match=r"Trip\.title must be a text or a property"):
        SessionSpec.of(record, None)


def test_an_error_that_is_reported_to_an_async_function_is_logged(caplog):
    ErrorReporter(looks_ordinary)(OSError("the disk is full"), ErrorContext("prune", "trips:1"))
    assert "on_error itself failed" in caplog.text
    assert REFUSED in caplog.text
    assert "prune failed for trips:1 (session None): the disk is full" in caplog.messages


def test_an_observer_that_returns_a_coroutine_is_reported():
    class Late(Observer):
        def changed(self, change, reply):
            return coroutine_function()

    reported = []
    Listeners([Late()], lambda *told: reported.append(told)).tell(ReplyChanged(None, Reply("ses_1", "msg_1")))
    ((action, _, error),) = reported
    assert action == "observe"
    assert f"Late {REFUSED}" in str(error)


def test_an_observer_may_return_a_task_which_runs_by_itself():
    class Working(Observer):
        def gap(self, reason):
            return asyncio.create_task(asyncio.sleep(0))

    async def tell():
        reported = []
        Listeners([Working()], lambda *told: reported.append(told)).tell(EventsMissed("x"))
        await asyncio.sleep(0)
        return reported

    assert asyncio.run(tell()) == []
