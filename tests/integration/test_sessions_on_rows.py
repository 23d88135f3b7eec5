"""The lifecycle and a turn over every kind of row that is supported, on the real server."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from fix_stores import DATABASES, AsyncDjangoBench
from selection import sample

from opencode_sessions import Client, Session, Turn, aio, allow, errors
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.store.messages import TurnStatus

two_benches = pytest.mark.parametrize(
    "bench",
    sample(["memory", *DATABASES], "sqlalchemy-postgres-async", "django-postgres-sync"),
    indirect=True,
)
"""For what is the same code over all stores: one of each host and of each API."""


def allow_all(_):
    return [allow("*")]


@pytest.fixture
def wire(bench, server):
    """The server as the bench's API sees it."""
    if bench.asynchronous:

        async def connect():
            return aio.Client(server.url, password=server.password)

        client = bench.run(connect())
        yield client
        bench.run(client.close())
    else:
        with Client(server.url, password=server.password) as client:
            yield client


class Faces:
    """`Session` and `Turn` of the bench's API, called in one way."""

    def __init__(self, bench, client):
        self._bench = bench
        self._client = client
        self._module = aio if bench.asynchronous else None

    def session(self, record):
        return (aio.Session if self._module else Session)(record, permissions_for=allow_all)

    def ensure(self, session):
        return self._finish(session.ensure(self._client))

    def recreate(self, session):
        return self._finish(session.recreate(self._client))

    def turn(self, message, session):
        return self._finish((aio.Turn if self._module else Turn)(message, session, self._client).run())

    def _finish(self, result):
        return self._bench.run(result) if self._bench.asynchronous else result


@pytest.fixture
def calls(bench, wire):
    return Faces(bench, wire)


@contextmanager
def expected(error, words):
    with pytest.raises(error) as caught:
        yield
    assert all(word in str(caught.value) for word in words)


def test_a_row_gets_its_session_and_its_own_copy_shows_it(bench, calls):
    record = bench.record("Lisbon")
    session = calls.session(record)
    session_id = calls.ensure(session)
    assert session.just_created
    assert bench.store(record).seen == session_id
    assert bench.idle()


def test_many_workers_of_one_row_get_one_session(bench, wire, client, sessions_of):
    record = bench.record("Porto")
    core = wire if bench.asynchronous else wire._core

    async def ensure(store, _):
        lifecycle = Lifecycle(store, permissions_for=allow_all)
        return await lifecycle.ensure(core), lifecycle.just_created

    results = bench.race(record, ensure, runners=8)
    (session_id,) = {found for found, _ in results}
    assert [created for _, created in results].count(True) == 1
    (found,) = [info for info in client.list(all_directories=True) if info.id == session_id]
    assert found.title == "Porto"
    key = found.metadata["record"]
    assert session_id in [info.id for info in sessions_of(key)]


@two_benches
def test_concurrent_recreates_of_one_row_converge(bench, calls, wire, client):
    record = bench.record("Faro")
    stale = calls.ensure(calls.session(record))
    core = wire if bench.asynchronous else wire._core

    async def recreate(store, _):
        lifecycle = Lifecycle(store, permissions_for=allow_all)
        return await lifecycle.recreate(core, stale=stale), lifecycle.just_created

    results = bench.race(record, recreate, runners=8)
    (fresh,) = {found for found, _ in results}
    assert fresh != stale
    assert [created for _, created in results].count(True) == 1
    with pytest.raises(errors.SessionNotFoundError):
        client.get(stale)


def test_a_turn_is_stored_in_its_row(bench, calls):
    record, message = bench.record("Braga"), bench.message("good evening")
    result = calls.turn(message, calls.session(record))
    assert (result.status, result.content) == (TurnStatus.COMPLETED, 'You said: "good evening".')
    row = bench.row(message)
    assert (row["status"], row["opencode_prompt_id"]) == ("completed", result.prompt_id)
    again = calls.turn(bench.another(message), calls.session(bench.another(record)))
    assert (again.content, again.parts, again.cost) == (result.content, result.parts, result.cost)
    assert bench.idle()


@two_benches
def test_a_session_that_is_gone_moves_the_turn_to_a_fresh_one(bench, calls, client):
    record, message = bench.record("Evora"), bench.message("still there?")
    session = calls.session(record)
    stale = calls.ensure(session)
    client.delete(stale)
    result = calls.turn(message, session)
    assert result.status is TurnStatus.COMPLETED
    assert result.session_id != stale
    assert bench.row(message)["opencode_prompt_id"] == result.prompt_id


def test_an_open_transaction_and_an_unsaved_row_are_refused_before_anything_is_sent(bench, calls):
    if not hasattr(bench, "unsaved"):
        pytest.skip("a row in memory has no transactions and is always saved")
    if isinstance(bench, AsyncDjangoBench):
        pytest.skip("asynchronous Django code cannot hold a transaction open around an await")
    record, message = bench.record("Sintra"), bench.message("hello")
    session = calls.session(record)
    with bench.open_transaction(record), expected(errors.OpenTransactionError, ["transaction", "network"]):
        calls.ensure(session)
    with bench.open_transaction(message), expected(errors.OpenTransactionError, ["transaction"]):
        calls.turn(message, session)
    unsaved_record, unsaved_message = bench.unsaved()
    with expected(errors.RecordNotSavedError, ["commit"]):
        calls.ensure(calls.session(unsaved_record))
    with expected(errors.RecordNotSavedError, ["commit"]):
        calls.turn(unsaved_message, session)
    assert bench.row(record)["opencode_session_id"] is None
    assert bench.row(message)["status"] == "pending"
