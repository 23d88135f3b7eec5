"""Several OpenCode servers: each record's session lives on one of them, and every call for it goes there."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import cycle

import pytest
from fix_server import LEAN
from host_models import Conversation, Prompt
from host_rows import Rows, urls_of
from model_bodies import bodies_asked
from sqlalchemy import event, select
from sqlalchemy.orm import object_session

from opencode_sessions import (
    Answer,
    Client,
    ConfigurationError,
    Pruner,
    Servers,
    Session,
    Turn,
    UnknownServerError,
    aio,
    retold,
)
from opencode_sessions.host import Server
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.server.managed import OpencodeServer
from opencode_sessions.sqlalchemy import SQLAlchemyIndex
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

BASH = '!tool bash {"command": "echo hello", "description": "greets"}'


class OneByOne:
    """Chooses the servers in turn."""

    def __init__(self, *names):
        self._names = cycle(names)

    def takes(self, server):
        return True

    async def choose(self, store):
        return next(self._names)


@pytest.fixture(scope="module")
def second(scripted_model):
    with OpencodeServer(config=scripted_model.config(), **LEAN) as server:
        yield server


@pytest.fixture
def both(server, second):
    return {"a": server, "b": second}


@pytest.fixture
def clients(both):
    made = {name: Client(each.url, password=each.password) for name, each in both.items()}
    yield made
    for client in made.values():
        client.close()


def has(client, session_id):
    return session_id in {info.id for info in client.list(all_directories=True)}


def where(clients, session_id):
    return [name for name, client in clients.items() if has(client, session_id)]


def test_each_record_is_placed_once_and_all_its_calls_go_there(clients):
    servers = Servers(clients, chooser=OneByOne("a", "b"))
    for name in ("a", "b"):
        record = MemoryRecord("Lisbon")
        session_id = Session(record).ensure(servers)
        assert (record.state.server, where(clients, session_id)) == (name, [name])
        message = MemoryMessage("hello", record)
        assert Turn(message, Session(record), servers).run().status == "completed"
        assert Session(record).ensure(servers) == session_id
        # A call about a file of its agent, of an object that has read nothing yet.
        assert run_sync(Session(record).wire(servers).of("notes.txt")) is clients[name]._core
        # Another such object stops it, and deletes it.
        Session(record).abort(servers)
        assert Session(record).recreate(servers) != session_id
        assert (record.state.server, where(clients, session_id)) == (name, [])
        assert where(clients, record.opencode_session_id) == [name]
        assert Session(record).delete(servers)
        assert record.state.server is None


def test_a_copy_of_a_session_is_made_where_that_is(clients):
    servers = Servers(clients, chooser=OneByOne("b", "a", "a"))
    source, copy = MemoryRecord("Lisbon"), MemoryRecord("Rome")
    session_id = Session(source).ensure(servers)
    copied = Session(copy).fork(servers, session_id)
    assert (copy.state.server, where(clients, copied)) == ("b", ["b"])


def test_a_row_without_a_name_is_on_the_server_that_had_none(clients):
    record = MemoryRecord("Lisbon")
    session_id = Session(record).ensure(Servers({"default": clients["a"]}))
    assert record.state.server is None, "one server costs no write"
    grown = Servers({"default": clients["a"], "b": clients["b"]}, chooser=OneByOne("b"))
    assert Turn(MemoryMessage("hello", record), Session(record), grown).run().status == "completed"
    assert record.opencode_session_id == session_id


def test_a_row_that_names_a_server_that_there_is_not_stays_as_it_is(clients):
    record = MemoryRecord("Lisbon")
    Session(record).ensure(Servers(clients, chooser=OneByOne("a")))
    before = record.state
    shrunk = Servers({"b": clients["b"]})
    with pytest.raises(UnknownServerError, match=r"on the server 'a'.*servers: b\."):
        Turn(MemoryMessage("hello", record), Session(record), shrunk).run()
    with pytest.raises(UnknownServerError, match="'a'"):
        Session(record).delete(shrunk)
    assert record.state.session_id == before.session_id
    assert record.state.server == "a"


def test_a_record_leaves_a_server_that_is_gone(clients):
    record, told = MemoryRecord("Lisbon"), []
    old = Session(record).ensure(Servers(clients, chooser=OneByOne("a")))
    session = Session(record, on_error=lambda error, context: told.append((context.action, type(error))))
    fresh = session.recreate(Servers({"b": clients["b"]}), server="b")
    assert (record.state.server, where(clients, fresh)) == ("b", ["b"])
    # The old one could not be deleted: it was told of, and left to prune.
    assert told == [("delete_replaced", UnknownServerError)]
    assert where(clients, old) == ["a"]
    assert Turn(MemoryMessage("hello", record), Session(record), Servers(clients)).run().status == "completed"
    with pytest.raises(ConfigurationError, match="no server 'c': given are a, b"):
        session.recreate(Servers(clients), server="c")


@pytest.mark.full
def test_it_goes_with_asyncio(both):
    asyncio.run(_goes_with_asyncio(both))


async def _goes_with_asyncio(both):
    clients = {name: aio.Client(each.url, password=each.password) for name, each in both.items()}
    servers = Servers(clients, chooser=OneByOne("b"))
    record = MemoryRecord("Lisbon")
    result = await aio.Turn(MemoryMessage("hello", record), aio.Session(record), servers).run()
    assert (result.status, record.state.server) == ("completed", "b")
    with pytest.raises(ConfigurationError, match=r"use the Session and Turn of opencode_sessions"):
        await aio.Session(record).ensure(Servers({"a": Client()}))
    for client in clients.values():
        await client.close()


@pytest.fixture
def rows(request, both, tmp_path):
    with Rows(both["a"], urls_of(request, tmp_path, "sqlite")[0]) as rows:
        yield rows


def servers_of(both, **said):
    return {
        name: Server(url=each.url, password=each.password, **said.get(name, {}))
        for name, each in both.items()
    }


def host_of(rows, both, *, server_for=None, **said):
    return rows.host(server=None, password=None, servers=servers_of(both, **said), server_for=server_for)


def server_of(rows, record):
    with rows.sessions() as db:
        return db.get_one(Conversation, record).opencode_server


def test_a_host_runs_turns_on_several_servers_and_stops_and_answers_them_there(rows, both, held):
    with host_of(rows, both, server_for=lambda record: "b" if record.title == "Lisbon" else None) as host:
        record = rows.conversation()
        first = rows.send(host, "hello", record)
        assert rows.ended(first).status == "completed"
        assert server_of(rows, record) == "b"
        asking = rows.send(host, BASH, record)
        asked = rows.until(asking, lambda row: row.asks)
        host.answer(asking, asked.asks[0]["id"], Answer("once"))
        assert "hello" in str(rows.ended(asking).parts)
        slow = rows.send(host, "!say one two three four five six", record)
        rows.until(slow, lambda row: row.content)
        assert host.cancel(slow, by="a person")
        assert rows.ended(slow).status == "cancelled"
        assert host.servers["b"].status() == {}
        with pytest.raises(ConfigurationError, match="several servers, a, b"):
            _ = host.client
    assert rows.told == []


def test_a_draining_server_gets_no_new_records_and_keeps_those_that_it_has(rows, both):
    with host_of(rows, both, server_for=lambda record: "a") as host:
        old = rows.conversation()
        assert rows.ended(rows.send(host, "hello", old)).status == "completed"
    with host_of(rows, both, a={"draining": True}) as host:
        new = rows.conversation()
        assert rows.ended(rows.send(host, "hello", new)).status == "completed"
        assert rows.ended(rows.send(host, "hello", old)).status == "completed"
        assert (server_of(rows, old), server_of(rows, new)) == ("a", "b")
    with host_of(rows, both, a={"draining": True}, b={"draining": True}) as host:
        failed = rows.ended(rows.send(host, "hello"))
        assert (failed.status, "are draining" in failed.error["message"]) == ("failed", True)


def retell(record):
    of = (Prompt.conversation_id == record.id, Prompt.status == "completed")
    turns = object_session(record).scalars(select(Prompt).where(*of).order_by(Prompt.id))
    return retold((turn.prompt, turn.content) for turn in turns)


def test_a_record_that_was_moved_tells_its_new_session_what_was_said(rows, both, clients):
    options = {"turn_options": lambda _: {"retell": retell}, "servers": servers_of(both)}
    record, other = rows.conversation(), rows.conversation()
    with rows.host(server=None, password=None, server_for=lambda _: "a", **options) as host:
        assert rows.ended(rows.send(host, "hello", other)).status == "completed"
        assert rows.ended(rows.send(host, "!say We go to Lisbon.", record)).status == "completed"
        with rows.sessions() as db:
            records = db.scalars(select(Conversation).where(Conversation.opencode_server == "a")).all()
            db.commit()
            for each in records:
                Session(each).recreate(Servers(clients), server="b")
        with bodies_asked() as bodies:
            assert rows.ended(rows.send(host, "!say In May.", record)).content == "In May."
    assert server_of(rows, record) == server_of(rows, other) == "b"
    assert '{"user": "!say We go to Lisbon.", "you": "We go to Lisbon."}' in str(bodies[-1])


@pytest.mark.full
def test_new_records_go_to_the_server_that_runs_the_fewest_turns_for_its_weight(rows, both, held):
    with host_of(rows, both, b={"weight": 2}) as host:
        slow = "!say one two three four five"  # of which the last is held
        places, messages = [], []
        for _ in range(3):
            record = rows.conversation()
            messages.append(message := rows.send(host, slow, record))
            rows.until(message, lambda row: row.opencode_prompt_id)
            places.append(server_of(rows, record))
        assert sorted(places) == ["a", "b", "b"]
        assert run_sync(host.table.running()) == {"a": 1, "b": 2}
        for message in messages:
            host.cancel(message, by="test")


def test_prune_looks_at_every_server(rows, both, clients):
    servers = Servers(clients, chooser=OneByOne("a", "b"))
    with rows.sessions() as db:
        made = [Conversation(title=name) for name in ("one", "two", "three", "four")]
        db.add_all(made)
        db.commit()
        found = {}
        for record in made:
            session_id = Session(record, namespace="several").ensure(servers)
            found[session_id] = record.opencode_server
        lost = {made[0].opencode_session_id, made[1].opencode_session_id}
        db.delete(made[0])
        db.delete(made[1])
        db.commit()
    index = SQLAlchemyIndex(Conversation, rows.engine)
    pruner = Pruner(index, namespace="several", grace=timedelta(0))
    leftovers = {each.session_id: each.server for each in pruner.delete(servers)}
    assert leftovers == {session_id: found[session_id] for session_id in lost}
    assert set(leftovers.values()) == {"a", "b"}
    assert [where(clients, each) for each in sorted(lost)] == [[], []]


def test_one_server_costs_no_query(rows, clients):
    def statements(client):
        said = []
        listen = lambda *each: said.append(each[2])  # noqa: E731 - of a line
        record = rows.conversation()
        event.listen(rows.engine, "before_cursor_execute", listen)
        with rows.sessions() as db:
            found = db.get_one(Conversation, record)
            db.commit()
            for _ in range(2):
                Session(found).ensure(client)
                db.rollback()
            Session(found).delete(client)
        event.remove(rows.engine, "before_cursor_execute", listen)
        return said

    alone = statements(clients["a"])
    assert statements(Servers({"default": clients["a"]})) == alone
    # With several, the row's column is written in the statement that is there already.
    assert len(statements(Servers(clients))) == len(alone)
