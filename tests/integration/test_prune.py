"""Pruning on the real server: what is found, what is left alone, and that nothing living is ever taken."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from fix_cli import eventually
from fix_server import LEAN
from host_clock import clock_off
from host_models import Conversation
from sqlalchemy import create_engine, delete
from sqlalchemy.orm import Session as Database

from opencode_sessions import Client, Leftover, OpencodeServer, Pruner, Session, aio, errors, new_session_id
from opencode_sessions.protocol.ids import mark_of
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sessions import pruning
from opencode_sessions.sqlalchemy import SQLAlchemyIndex
from opencode_sessions.store.index import MemoryIndex
from opencode_sessions.store.memory import MemoryRecord, MemoryRecordStore
from opencode_sessions.store.records import RecordState

AT_ONCE = timedelta(0)
ROWS = 5


@pytest.fixture(scope="module")
def server(scripted_model):
    """One for these tests alone: each walk looks at all sessions that its server has."""
    with OpencodeServer(config=scripted_model.config(), **LEAN) as server:
        yield server


@pytest.fixture
def namespace():
    """One of the test's own."""
    return f"test-{uuid.uuid4()}"


@pytest.fixture
def pruner(namespace):
    def make(*records, grace=AT_ONCE, **options):
        return Pruner(MemoryIndex(*records), namespace=namespace, grace=grace, **options)

    return make


@pytest.fixture
def ensured(client, namespace):
    """A record with its session."""

    def make(title=""):
        record = MemoryRecord(title)
        Session(record, namespace=namespace).ensure(client)
        time.sleep(0.002)  # older than nothing at all is what was used a millisecond ago
        return record

    return make


@pytest.fixture
def made(client, namespace):
    """A session that bears our mark, by its id: what a maker leaves upstream, without its row."""

    def make(table="memory", record="memory:0", **metadata):
        metadata = {"namespace": namespace, "record": record, **metadata}
        info = client.create(new_session_id(mark=mark_of(namespace, table)), metadata=metadata)
        time.sleep(0.002)
        return info.id

    return make


def ids(leftovers):
    return {leftover.session_id for leftover in leftovers}


def exists(client, session_id):
    with suppress(errors.SessionNotFoundError):
        return client.get(session_id).id == session_id
    return False


def test_a_session_whose_row_is_gone_is_found_and_told_of(client, pruner, ensured):
    kept, lost = ensured("kept"), ensured("lost")
    lost.deleted = True
    walk = pruner(kept, lost)
    (leftover,) = walk.find(client)
    assert leftover.session_id == lost.opencode_session_id
    assert (leftover.title, leftover.record, leftover.deleted) == ("lost", f"memory:{lost.number}", False)
    assert timedelta(0) <= datetime.now(UTC) - leftover.updated < timedelta(minutes=1)
    assert leftover.created <= leftover.updated
    assert walk.scanned >= 2
    assert exists(client, leftover.session_id)


def test_it_is_deleted_if_that_is_asked_for_and_then_nothing_is_left(client, pruner, ensured):
    kept, lost = ensured(), ensured()
    lost.deleted = True
    (leftover,) = pruner(kept, lost).delete(client)
    assert leftover.deleted
    assert not exists(client, lost.opencode_session_id)
    assert exists(client, kept.opencode_session_id)
    assert list(pruner(kept, lost).delete(client)) == []


def test_what_a_row_names_is_left_whether_reserved_ready_or_deleting(client, pruner, ensured):
    reserved, ready, deleting = ensured(), ensured(), ensured()
    reserved.state = RecordState(reserved.opencode_session_id)
    run_sync(MemoryRecordStore(deleting).mark_deleting(deleting.opencode_session_id))
    assert (ready.state.ready, deleting.state.deleting) == (True, True)
    assert list(pruner(reserved, ready, deleting).find(client)) == []


def test_what_a_replaced_session_left_is_found(client, pruner, ensured):
    record = ensured()
    first = record.opencode_session_id
    run_sync(MemoryRecordStore(record).reserve(first, new_session_id()))  # and there its worker died
    assert ids(pruner(record).find(client)) == {first}


def test_one_whose_maker_died_before_it_said_anything_is_known_by_its_mark(client, namespace, pruner):
    mine, elses = (
        client.create(new_session_id(mark=mark_of(space, "memory"))).id for space in (namespace, "x")
    )
    time.sleep(0.002)
    (leftover,) = pruner().delete(client)
    assert (leftover.session_id, leftover.record) == (mine, None)
    assert exists(client, elses)


def test_a_grace_period_spares_what_was_used_lately(client, pruner, made):
    session_id = made()
    walk = pruner(grace=timedelta(minutes=5))
    assert list(walk.find(client)) == []
    walk._core._now = lambda: time.time() + 301
    assert ids(walk.find(client)) == {session_id}


def test_a_grace_period_goes_by_the_servers_clock(client, pruner, made):
    session_id = made()
    with clock_off(300):
        assert list(pruner(grace=timedelta(minutes=4)).find(client)) == []
    with clock_off(-300):
        # The server says its time in whole seconds, and a busy one says it late.
        eventually(lambda: ids(pruner().find(client)) == {session_id})


def test_what_is_not_ours_by_every_sign_is_left_alone(client, namespace, pruner, made):
    ours = made()
    strangers = [
        client.create().id,
        client.create(metadata={"namespace": namespace, "record": "memory:1"}).id,  # no mark: not made by us
        client.create(new_session_id(), metadata={"namespace": namespace, "record": "memory:1"}).id,
        made(namespace="another"),
        made(record="tickets:1"),  # its mark says something else
        made(record=7),
        made(table="tickets"),
        client.fork(ours).id,
        client.create(parent_id=made(table="tickets", record="tickets:1")).id,
    ]
    time.sleep(0.002)
    assert ids(pruner().delete(client)) == {ours}
    assert all(exists(client, session_id) for session_id in strangers)


def test_sessions_of_tables_that_were_not_given_are_counted_and_left(client, pruner, made):
    tickets = [made(table="tickets", record="tickets:1") for _ in range(2)]
    walk = pruner()
    assert list(walk.delete(client)) == []
    assert walk.of_other_tables == 2
    assert all(exists(client, session_id) for session_id in tickets)


def test_sub_agents_sessions_go_with_their_parent(client, pruner, made):
    parent = made()
    child = client.create(parent_id=parent).id
    time.sleep(0.002)
    assert ids(pruner().delete(client)) == {parent}
    assert not exists(client, child)


def test_a_row_that_was_moved_to_another_table_keeps_its_session(client, namespace, made):
    class Archive(MemoryIndex):
        table = "archive"

    moved = MemoryRecord()
    session_id = made()
    run_sync(MemoryRecordStore(moved).reserve(None, session_id))
    indexes = MemoryIndex(), Archive(moved)
    assert list(Pruner(*indexes, namespace=namespace, grace=AT_ONCE).find(client)) == []
    assert ids(Pruner(indexes[0], namespace=namespace, grace=AT_ONCE).find(client)) == {session_id}


def test_a_busy_one_is_stopped_before_it_is_deleted(client, carried, pruner, made):
    session_id = made()
    client.prompt(session_id, "!slow 600\n!say never")
    eventually(lambda: client.busy(session_id))
    walk = pruner()
    walk._core._now = lambda: time.time() + 60  # a turn that begins goes on changing its session
    (leftover,) = walk.delete(client)
    assert leftover.deleted
    on_it = [request for request in carried if session_id in request and "GET" not in request]
    assert on_it[-2:] == [f"POST /session/{session_id}/abort", f"DELETE /session/{session_id}"]
    eventually(lambda: session_id not in client.status())


def test_nothing_is_skipped_where_pages_end_while_what_is_listed_is_deleted(
    client, carried, monkeypatch, pruner, made
):
    monkeypatch.setattr(pruning, "_PAGE", 2)
    lost = {made() for _ in range(7)}
    assert ids(pruner().delete(client)) == lost
    assert carried.count("GET /experimental/session") >= 4


def test_a_walk_that_is_broken_off_has_done_what_it_told_and_no_more(client, pruner, made):
    lost = {made() for _ in range(3)}
    walk = pruner().delete(client)
    first = next(walk)
    walk.close()
    assert {session_id for session_id in lost if exists(client, session_id)} == lost - {first.session_id}
    assert ids(pruner().delete(client)) == lost - {first.session_id}


def test_one_that_cannot_be_deleted_is_reported_and_keeps_none_of_the_others(client, namespace, made):
    lost = [made() for _ in range(3)]

    class Refusing:
        async def delete(self, session_id):
            if session_id == lost[1]:
                raise errors.ServerError("no")
            return await client._core.delete(session_id)

        def __getattr__(self, name):
            return getattr(client._core, name)

    reported = []
    pruner = Pruner(
        MemoryIndex(), namespace=namespace, grace=AT_ONCE, on_error=lambda *what: reported.append(what)
    )
    leftovers = list(pruner._walk({None: Refusing()}, delete=True))
    assert {leftover.session_id: leftover.deleted for leftover in leftovers} == {
        lost[0]: True,
        lost[1]: False,
        lost[2]: True,
    }
    ((error, context),) = reported
    assert isinstance(error, errors.ServerError)
    assert (context.action, context.record, context.session_id) == ("prune", "memory:0", lost[1])


def test_a_listing_that_fails_is_raised(pruner):
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(errors.ServerUnreachableError):
        list(pruner().find(nobody))


def test_what_cannot_work_is_refused_at_once(client):
    with pytest.raises(errors.ConfigurationError, match="index"):
        Pruner()
    with pytest.raises(errors.ConfigurationError, match="negative"):
        Pruner(MemoryIndex(), grace=timedelta(seconds=-1))
    with pytest.raises(errors.ConfigurationError, match="aio"):
        aio.Pruner(MemoryIndex()).find(client)


def test_without_a_namespace_nothing_is_deleted_and_what_to_do_is_told(server, client):
    """Any other project on the server has the default one too, if it gives none."""
    lost = MemoryRecord()
    session_id = Session(lost).ensure(client)
    lost.deleted = True
    time.sleep(0.002)
    unnamed = Pruner(MemoryIndex(lost), grace=AT_ONCE)
    assert session_id in ids(unnamed.find(client))
    with pytest.raises(errors.ConfigurationError, match=r"give 'opencode-sessions'$"):
        list(unnamed.delete(client))

    async def prune():
        async with aio.Client(server.url, password=server.password) as asynchronous:
            pruner = aio.Pruner(MemoryIndex(lost), grace=AT_ONCE)
            return [leftover async for leftover in pruner.delete(asynchronous)]

    with pytest.raises(errors.ConfigurationError, match="no namespace was given"):
        asyncio.run(prune())
    assert exists(client, session_id)
    assert session_id in ids(
        Pruner(MemoryIndex(lost), namespace="opencode-sessions", grace=AT_ONCE).delete(client)
    )
    assert not exists(client, session_id)


def test_the_async_face_does_the_same(server, client, namespace, made):
    lost = {made(), made()}

    async def prune():
        async with aio.Client(server.url, password=server.password) as asynchronous:
            pruner = aio.Pruner(MemoryIndex(), namespace=namespace, grace=AT_ONCE)
            found = [leftover async for leftover in pruner.find(asynchronous)]
            deleted = [leftover async for leftover in pruner.delete(asynchronous)]
            return found, deleted, pruner.scanned

    found, deleted, scanned = asyncio.run(prune())
    assert ids(found) == ids(deleted) == lost
    assert all(isinstance(leftover, Leftover) and leftover.deleted for leftover in deleted)
    assert scanned >= 2
    assert not any(exists(client, session_id) for session_id in lost)


@pytest.fixture
def engine(sqlite_file):
    engine = create_engine(f"sqlite:///{sqlite_file}")
    yield engine
    engine.dispose()


def test_rows_are_asked_after_the_sessions_were_listed(client, engine, namespace):
    made = []

    class Meanwhile:
        """A row gets its session just before the listing that shows it."""

        async def list(self, **options):
            with Database(engine, expire_on_commit=False) as database:
                made.append(Conversation(title="new"))
                database.add(made[0])
                database.commit()
                Session(made[0], namespace=namespace).ensure(client)
            async for info in client._core.list(**options):
                yield info

        async def clock_difference(self):
            return None

    pruner = Pruner(SQLAlchemyIndex(Conversation, engine), namespace=namespace, grace=AT_ONCE)
    pruner._core._now = lambda: time.time() + 60
    assert list(pruner._walk({None: Meanwhile()}, delete=False)) == []
    delete_rows(engine, [made[0].opencode_session_id])
    assert ids(pruner.find(client)) == {made[0].opencode_session_id}


def test_beside_workers_that_make_and_replace_sessions_no_row_ever_loses_its_own(
    server, client, engine, namespace
):
    """With no grace at all, over rows of a real database: one prune after the other runs meanwhile."""
    pruner = Pruner(SQLAlchemyIndex(Conversation, engine), namespace=namespace, grace=AT_ONCE)
    over, pruned = threading.Event(), []

    def prune():
        with Client(server.url, password=server.password) as own:
            while not over.is_set():
                pruned.extend(pruner.delete(own))
                over.wait(0.02)

    pruning = threading.Thread(target=prune)
    pruning.start()
    rows, abandoned = set(), set()
    try:
        for _ in range(ROWS):
            with Database(engine, expire_on_commit=False) as database:
                conversation = Conversation(title="Lisbon")
                database.add(conversation)
                database.commit()
                session = Session(conversation, namespace=namespace)
                session.ensure(client)
                rows.add(session.recreate(client))
            abandoned.add(client.create(new_session_id(mark=mark_of(namespace, "conversations"))).id)
        eventually(lambda: abandoned <= ids(pruned))
    finally:
        over.set()
        pruning.join(60)
    assert not ids(pruned) & rows
    assert all(exists(client, session_id) for session_id in rows)
    delete_rows(engine, rows)
    assert ids(pruner.delete(client)) == rows


def delete_rows(engine, session_ids):
    with engine.begin() as connection:
        connection.execute(delete(Conversation).where(Conversation.opencode_session_id.in_(session_ids)))
