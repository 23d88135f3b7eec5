from __future__ import annotations

import pytest
from fix_stores import DIGEST, run, walk
from host_models import Answer, Base, Conversation
from sqlalchemy import (
    create_engine,
    event,
    inspect,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import (
    Session,
    make_transient_to_detached,
    sessionmaker,
)
from sqlalchemy.pool import StaticPool

from opencode_sessions.errors import ConfigurationError, OpenTransactionError
from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.sqlalchemy import (
    SQLAlchemyMessageStore,
    SQLAlchemyRecordStore,
)
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.records import RecordState


@pytest.fixture
def bench(make_bench):
    return make_bench("sqlalchemy-sqlite-sync")


def test_another_workers_write_is_seen_through_a_copy_that_does_not_expire(bench):
    record = bench.record()
    with Session(bench.engine, expire_on_commit=False) as session:
        stale = session.get(Conversation, inspect(record).identity)
        session.commit()
        theirs = walk(bench.store(record))
        assert stale.opencode_session_id is None
        store = stale.__opencode_store__(asynchronous=False)
        assert store.seen is None
        assert run(store.load()) == RecordState(theirs, ready=True, digest=DIGEST)
        assert run(store.reserve(None, new_session_id())) == RecordState(theirs, ready=True, digest=DIGEST)
        assert run(store.read(lambda fresh: fresh.opencode_session_id))[1] == theirs


def test_an_expired_copy_is_shown_the_state_without_a_query_or_a_write(bench):
    record = bench.record(title="Rome")
    store = bench.store(record)
    walk(store)
    statements = []
    event.listen(bench.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert inspect(record).expired_attributes
    assert store.seen is None
    assert store.key == f"conversations:{inspect(record).identity[0]}"
    store.check()
    store.remember(RecordState("ses_remembered", ready=True))
    assert store.seen == record.opencode_session_id == "ses_remembered"
    session = inspect(record).session
    assert not session.in_transaction()
    assert not session.dirty
    assert not statements
    assert record.title == "Rome"  # what else had expired is still read when it is asked for
    assert len(statements) == 1


def test_a_copy_that_expires_again_is_still_known_by_what_it_showed_last(bench):
    record = bench.record()
    store = bench.store(record)
    store.remember(RecordState("ses_shown", ready=True))
    inspect(record).session.commit()
    inspect(record).session.expire(record)
    assert store.seen == "ses_shown"


def test_a_change_of_the_hosts_own_stays_to_be_flushed(bench):
    record = bench.record(title="Rome")
    record.title = "Oslo"
    session = inspect(record).session
    store = bench.store(record)
    session.commit()
    mine = walk(store)
    record.title = "Bern"
    store.remember(RecordState(mine, ready=True))
    session.commit()
    row = bench.row(record)
    assert (row["title"], row["opencode_session_id"]) == ("Bern", mine)


def test_a_mere_read_opens_a_transaction_and_the_refusal_says_so(bench):
    record = bench.record(title="Rome")
    store = bench.store(record)
    assert record.title == "Rome"
    with pytest.raises(OpenTransactionError, match=r"commit\(\).*mere read"):
        store.check()
    inspect(record).session.commit()
    store.check()


def test_an_uncommitted_row_is_refused(bench):
    session = bench.session()
    record = Conversation()
    session.add(record)
    session.flush()
    with pytest.raises(OpenTransactionError):
        bench.store(record).check()
    session.rollback()


def test_a_session_on_a_connection_is_refused(bench):
    record = bench.record()
    with bench.engine.connect() as connection, Session(connection) as session:
        copy = session.get(Conversation, inspect(record).identity)
        session.commit()
        with pytest.raises(OpenTransactionError, match="bound to a connection"):
            bench.store(copy).check()


def test_a_session_bound_to_nothing_is_told_so(bench):
    record = bench.record()
    copy = Conversation(id=inspect(record).identity[0])
    make_transient_to_detached(copy)
    with Session() as session:
        session.add(copy)
        with pytest.raises(ConfigurationError, match="bound to no engine"):
            bench.store(copy).check()


def test_a_detached_record_is_told_to_pass_its_store(bench):
    record = bench.record()
    store = bench.store(record)
    inspect(record).session.expunge(record)
    with pytest.raises(ConfigurationError, match="store="):
        store.check()
    own = SQLAlchemyRecordStore(Conversation, inspect(record).identity, bench.engine, instance=record)
    own.check()
    mine = walk(own)
    own.remember(RecordState(mine, ready=True))
    assert record.opencode_session_id == own.seen == mine


def test_a_store_that_has_found_its_engine_works_on_when_the_record_is_detached(bench):
    record = bench.record()
    store = bench.store(record)
    store.check()
    inspect(record).session.close()
    walk(store)


@pytest.mark.parametrize("make", [lambda engine: engine, sessionmaker])
def test_a_store_can_be_given_a_key_and_an_engine_or_sessionmaker(bench, make):
    identity = inspect(bench.record()).identity[0]
    store = SQLAlchemyRecordStore(Conversation, identity, make(bench.engine))
    store.check()
    assert store.key == f"conversations:{identity}"
    mine = walk(store)
    store.remember(RecordState(mine, ready=True))
    assert store.seen == mine


@pytest.mark.parametrize("make", [lambda engine: engine, async_sessionmaker])
def test_an_async_engine_or_sessionmaker_makes_an_async_store(make_bench, make):
    bench = make_bench("sqlalchemy-sqlite-async")
    identity = inspect(bench.message("?")).identity
    store = SQLAlchemyMessageStore(Answer, identity, make(bench.async_engine))
    store.check()
    assert bench.run(store.take(bench.run(store.load()), 60))
    assert bench.run(store.load()).status is TurnStatus.STREAMING


def test_a_store_with_an_attached_instance_sees_its_open_transaction(bench):
    record = bench.record()
    identity = inspect(record).identity
    store = SQLAlchemyRecordStore(Conversation, identity, bench.engine, instance=record)
    with bench.open_transaction(record), pytest.raises(OpenTransactionError):
        store.check()


def test_the_wrong_face_is_told_which_import_is_right(bench, make_bench):
    with pytest.raises(
        ConfigurationError, match=r"import from opencode_sessions, not opencode_sessions\.aio"
    ):
        bench.record().__opencode_store__(asynchronous=True).check()
    record = make_bench("sqlalchemy-sqlite-async").record()
    with pytest.raises(ConfigurationError, match=r"import from opencode_sessions\.aio"):
        record.__opencode_store__(asynchronous=False).check()


def test_a_session_that_routes_is_asked_where_writes_go(bench, tmp_path):
    replica = create_engine(f"sqlite:///{tmp_path / 'replica.sqlite3'}")

    class Routing(Session):
        def get_bind(self, mapper=None, *, clause=None, **_):
            return bench.engine if self._flushing or getattr(clause, "is_dml", False) else replica

    record = Conversation()
    with Routing() as session:
        session.add(record)
        session.commit()
        walk(bench.store(record))
    replica.dispose()


def test_an_autocommit_engine_keeps_the_promises_too(make_bench):
    bench = make_bench("sqlalchemy-postgres-sync", isolation_level="AUTOCOMMIT")
    record = bench.record()
    ids = [new_session_id() for _ in range(8)]
    seen = bench.race(record, lambda store, number: store.reserve(None, ids[number]), runners=8)
    assert len(set(seen)) == 1
    assert seen[0].session_id in ids


def test_a_database_in_memory_with_its_one_connection_will_do():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        record = Conversation()
        session.add(record)
        session.commit()
        walk(record.__opencode_store__(asynchronous=False))
    engine.dispose()


def test_an_async_reader_follows_lazy_relations(make_bench):
    bench = make_bench("sqlalchemy-sqlite-async")
    record = bench.record(owner="Ada")

    async def read():
        async with AsyncSession(bench.async_engine) as session:
            copy = await session.get(Conversation, inspect(record).identity)
            await session.commit()
            return await bench.store(copy).read(lambda fresh: fresh.owner.name)

    assert bench.run(read()) == (RecordState(), "Ada")


def test_a_row_that_comes_to_what_a_reservation_expected_while_it_looks_is_reserved(make_bench):
    bench = make_bench("sqlalchemy-postgres-sync")
    record, theirs, mine = bench.record(), new_session_id(), new_session_id()
    store, other = bench.store(record), bench.store(bench.another(record))
    run(other.reserve(None, theirs))
    run(other.mark_deleting(theirs))
    cleared = []

    def between_update_and_select(*args):
        if not cleared and args[2].startswith("UPDATE"):
            cleared.append(theirs)
            assert run(other.clear_deleted(theirs))

    event.listen(bench.engine, "after_cursor_execute", between_update_and_select)
    assert run(store.reserve(None, mine)) == RecordState(mine)
    assert cleared
