"""What is peculiar to MariaDB."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pymysql
import pytest
from django.db import connections
from fix_stores import run, walk

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.records import RecordState

pytestmark = pytest.mark.full


@pytest.fixture(params=["sqlalchemy-mariadb-sync", "django-mariadb-sync"])
def bench(request, make_bench):
    return make_bench(request.param)


@pytest.fixture
def theirs(bench, mariadb):
    """A cursor of somebody else's in the same database."""
    database = (
        connections.settings[bench.alias]["NAME"] if hasattr(bench, "alias") else bench.engine.url.database
    )
    with pymysql.connect(host="127.0.0.1", port=mariadb.port, user="root", database=database) as connection:
        with connection.cursor() as cursor:
            yield cursor


def wait_until_blocked(cursor):
    deadline = time.monotonic() + 60
    while not cursor.execute("SELECT 1 FROM information_schema.innodb_lock_waits"):
        assert time.monotonic() < deadline
        time.sleep(0.15)  # what it shows is kept for as long as somebody asks every tenth of a second


def retitle(cursor, bench, identity):
    cursor.execute(f"UPDATE {bench.table} SET title = 'theirs' WHERE id = %s", [identity])  # noqa: S608 - our table


def deadlocks(cursor):
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    return int(cursor.fetchone()[1])


def test_a_transaction_that_lost_a_deadlock_is_tried_again(bench, theirs):
    record, mine = bench.record(), new_session_id()
    others = [bench.record() for _ in range(20)]
    for other in others:
        walk(bench.store(other))
    store, before = bench.store(record), deadlocks(theirs)

    def reserve():
        try:
            return run(store.reserve(None, mine))
        finally:
            bench.leave_thread()

    # It is the one that has written less who loses.
    for other in others:
        retitle(theirs, bench, bench.identity(other))
    # Nobody has this id, and for now nobody may get it.
    gap = f"SELECT * FROM {bench.table} WHERE opencode_session_id = %s FOR UPDATE"  # noqa: S608 - our table
    theirs.execute(gap, [mine])
    with ThreadPoolExecutor(1) as pool:
        reserved = pool.submit(reserve)
        wait_until_blocked(theirs)
        retitle(theirs, bench, bench.identity(record))
        if deadlocks(theirs) == before:
            theirs.connection.rollback()
            pytest.skip(
                "MariaDB let them wait for each other until one gave up, instead of noticing a deadlock"
            )
        theirs.connection.commit()
        assert reserved.result(60) == RecordState(mine)
    row = bench.row(record)
    assert (row["title"], row["opencode_session_id"]) == ("theirs", mine)


@pytest.fixture
def impatient(mariadb):
    """Connections that are made from now on wait for a lock for a second."""
    with pymysql.connect(host="127.0.0.1", port=mariadb.port, user="root") as connection:
        connection.cursor().execute("SET GLOBAL innodb_lock_wait_timeout = 1")
        yield
        connection.cursor().execute("SET GLOBAL innodb_lock_wait_timeout = 5")


def test_a_lock_that_is_not_let_go_is_an_error_and_nothing_is_held(impatient, bench, theirs):
    record, mine = bench.record(), new_session_id()
    store = bench.store(record)
    retitle(theirs, bench, bench.identity(record))
    with pytest.raises(Exception, match="Lock wait timeout"):
        run(store.reserve(None, mine))
    assert bench.idle()
    theirs.connection.commit()
    assert run(store.reserve(None, mine)) == RecordState(mine)


def test_an_answer_may_be_longer_than_a_text_of_mysqls(bench):
    message = bench.message("?" * 70_000)
    assert bench.row(message)["prompt"] == "?" * 70_000
