"""What is peculiar to SQLite: one writer at a time, and what its journal is."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing, suppress

import pytest
from fix_stores import run, walk
from host_benches import SQLAlchemyBench
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.sqlalchemy import SQLAlchemyRecordStore
from opencode_sessions.store.records import RecordState


@pytest.fixture(params=["sqlite", "wal"])
def path(request):
    return request.getfixturevalue(f"{request.param}_file")


@pytest.fixture
def make(path):
    """Makes benches over the file, whose connections wait so many seconds for a lock."""
    benches = []

    def make(timeout):
        benches.append(SQLAlchemyBench(f"sqlite:///{path}", connect_args={"timeout": timeout}))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def theirs(path):
    """Somebody else's connection, which begins and ends its own transactions."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        yield connection


def test_a_writer_who_stays_too_long_is_an_error_and_nothing_is_held(make, theirs):
    bench, mine = make(timeout=0.05), new_session_id()
    store = bench.store(bench.record())
    theirs.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="database is locked"):
        run(store.reserve(None, mine))
    assert bench.idle()
    assert run(store.load()) == RecordState()
    theirs.execute("ROLLBACK")
    assert run(store.reserve(None, mine)) == RecordState(mine)


def test_a_writer_who_ends_in_time_is_waited_for(make, theirs):
    bench, mine = make(timeout=30), new_session_id()
    store = bench.store(bench.record())
    theirs.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.2, theirs.execute, ["COMMIT"])
    end.start()
    assert run(store.reserve(None, mine)) == RecordState(mine)
    end.join()


def test_a_reader_does_not_keep_others_from_writing_where_there_is_a_write_ahead_log(make, theirs, path):
    bench = make(timeout=0.05)
    store = bench.store(bench.record())
    theirs.execute("BEGIN")
    theirs.execute("SELECT * FROM conversations").fetchall()
    if path.name == "wal.sqlite3":
        walk(store)
    else:
        with pytest.raises(OperationalError, match="database is locked"):
            run(store.reserve(None, new_session_id()))
        assert bench.idle()
        assert run(store.load()) == RecordState()
    theirs.execute("ROLLBACK")


def test_cancelled_tasks_leave_no_lock(make, path):
    record = make(timeout=5).record()

    async def main():
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": 0.5})
        store = SQLAlchemyRecordStore(type(record), record.id, engine)

        async def read():
            while True:
                await store.load()

        state = RecordState()
        for steps in range(40):
            reading = asyncio.create_task(read())
            await asyncio.sleep(steps * 0.0003)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            state = await store.reserve(state.session_id, new_session_id())
        await engine.dispose()

    asyncio.run(main())
