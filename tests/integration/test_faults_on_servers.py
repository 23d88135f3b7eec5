"""The fault proxy before real servers: what OpenCode, PostgreSQL and our own turns make of a bad line."""

from __future__ import annotations

import psycopg
import pytest

from opencode_sessions import Client, Observer, Session, Turn, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import FaultProxy

# OpenCode behind it.


@pytest.fixture
def through(server):
    with FaultProxy(server.url) as proxy, Client(proxy.url, password=server.password) as client:
        yield proxy, client


def new_session():
    return Session(MemoryRecord("A bad line"), permissions_for=lambda _: [allow("*")])


class CutAtFirstWord(Observer):
    """Cuts the event stream in the middle of what it says next."""

    def __init__(self, proxy):
        self._proxy = proxy
        self.gaps = 0
        self.text = ""

    def changed(self, change, reply):
        self.text += change.delta if change.part.type == "text" else ""
        if reply.text and not self._proxy.faults:
            self._proxy.cut()

    def gap(self, reason):
        self.gaps += 1


def test_a_turn_whose_event_stream_is_cut_goes_on_to_its_answer(through):
    proxy, client = through
    observer = CutAtFirstWord(proxy)
    said = "one two three four five six seven eight nine ten"
    result = Turn(MemoryMessage(f"!slow 0.1\n!say {said}"), new_session(), client, observer=observer).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, said)
    assert observer.gaps
    assert proxy.faults


def test_a_stream_that_is_cut_at_any_byte_costs_no_answer(server):
    with FaultProxy(server.url, seed=3) as proxy, Client(proxy.url, password=server.password) as client:
        counts = (1, proxy.random.randrange(100, 1_000), proxy.random.randrange(1_000, 6_000))
        for times, count in enumerate(counts, start=1):
            proxy.cut_after(count, "down", matching=b"GET /global/event")
            proxy.cut()  # so that the stream is opened anew
            result = Turn(MemoryMessage(f"after {count}"), new_session(), client).run()
            assert (result.status, result.content) == (TurnStatus.COMPLETED, f'You said: "after {count}".')
            proxy.await_fault("cut_after", times=times, timeout=0)


def test_a_session_whose_creation_is_not_answered_is_made_once(through, client):
    proxy, broken = through
    record = MemoryRecord("Made once")
    session = Session(record, permissions_for=lambda _: [allow("*")])
    proxy.drop_answer(b"POST /api/session")
    session_id = session.ensure(broken)
    proxy.await_fault("drop_answer", timeout=0)
    assert session_id == record.opencode_session_id
    found = [info for info in client.list(all_directories=True) if info.title == "Made once"]
    assert [info.id for info in found] == [session_id]


def test_a_prompt_whose_acceptance_is_not_heard_is_answered_once(through):
    proxy, client = through
    session = new_session()
    session.ensure(client)
    proxy.drop_answer(b"/prompt_async")
    result = Turn(MemoryMessage("did it arrive?"), session, client).run()
    proxy.await_fault("drop_answer", timeout=0)
    assert (result.status, result.content) == (TurnStatus.COMPLETED, 'You said: "did it arrive?".')
    roles = [message.info.role for message in client.messages(result.session_id)]
    assert sorted(roles) == ["assistant", "user"]


def test_a_server_that_refuses_connections_for_a_moment_is_asked_again(through, monkeypatch):
    proxy, client = through
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            proxy.admit()

    monkeypatch.setattr(client._core.clock, "sleep", pause)
    proxy.refuse()
    assert client.health().version
    assert pauses == [0.1, 0.4]


# PostgreSQL behind it.


@pytest.fixture
def database(postgres):
    with FaultProxy(postgres.url(database=postgres.create_database())) as proxy:
        with psycopg.connect(proxy.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE notes (body text)")
        yield proxy


def notes(proxy):
    with psycopg.connect(proxy.url) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM notes").fetchall()]


def test_a_commit_whose_answer_is_lost_was_made(database):
    database.drop_answer(b"COMMIT")
    with pytest.raises(psycopg.OperationalError), psycopg.connect(database.url) as connection:
        connection.execute("INSERT INTO notes VALUES ('kept')")
    assert notes(database) == ["kept"]


def test_a_connection_that_is_cut_within_the_commit_leaves_nothing(database):
    connection = psycopg.connect(database.url)
    connection.execute("INSERT INTO notes VALUES ('lost')")
    database.cut_after(3, "up")
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    connection.close()
    assert notes(database) == []
    assert [fault.kind for fault in database.faults] == ["cut_after"]
