"""The database connections of a process: turns that are at work share them, and streams that begin take few."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from django.db import OperationalError, connections, transaction
from django.db.backends.signals import connection_created
from django.http import HttpResponse
from fix_django_app import connections_of_others, wait_until
from turn_table_benches import DjangoTurns

from opencode_sessions.django import connections as ours
from opencode_sessions.django.connections import borrowed, shared
from opencode_sessions.runtime.stepping import run_sync

DATABASE = "postgres"
TIMES = 10
FOUR = 4
"""Connections are kept, at most."""

FEW = 16
"""As `few_at_once` says."""


@pytest.fixture
def opened(nothing_left, chat, monkeypatch):
    """The connections that threads of this process have opened. However slow a machine is, none is too old."""
    monkeypatch.setattr(ours, "_FRESH", 60.0)
    found = []

    def note(sender, connection, **_):
        if connection.alias == DATABASE:
            found.append(connection)

    connection_created.connect(note)
    yield found
    connection_created.disconnect(note)
    wait_until(lambda: connections_of_others() == 0)


@pytest.fixture
def bench(chat):
    return DjangoTurns(chat, DATABASE)


@contextmanager
def at_work(turns):
    with ExitStack() as stack:
        for _ in range(turns):
            stack.enter_context(shared.at_work())
        yield


def in_a_thread(work):
    """What `work` returns, in a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


def ask(using=DATABASE):
    with borrowed(using, shares=True), connections[using].cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]


@pytest.mark.parametrize(("turns", "expected"), [(1, TIMES), (2, 1)])
def test_turns_that_are_at_work_share_a_connection_and_one_alone_does_not(opened, turns, expected):
    with at_work(turns):
        assert [in_a_thread(ask) for _ in range(TIMES)] == [1] * TIMES
    assert len(opened) == expected


def test_the_stores_of_turns_that_are_at_work_share_a_connection(opened, bench):
    message = bench.copy(bench.message_of(bench.record()))
    store = bench.table().store(bench.table().job_of(message), message)
    connections.close_all()
    opened.clear()
    with at_work(2):
        for _ in range(TIMES):
            in_a_thread(lambda: bench.run(store.load()))
    assert len(opened) == 1


def test_a_connection_that_was_not_used_for_a_second_is_opened_anew(opened, monkeypatch):
    monkeypatch.setattr(ours, "_FRESH", -1.0)
    with at_work(2):
        in_a_thread(ask)
        in_a_thread(ask)
        assert len(opened) == 2
        wait_until(lambda: connections_of_others() == 1)


def test_a_connection_that_failed_is_not_used_again(opened):
    def fail():
        with borrowed(DATABASE, shares=True), connections[DATABASE].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with at_work(2):
        with pytest.raises(OperationalError):
            in_a_thread(fail)
        assert in_a_thread(ask) == 1


def test_a_connection_whose_error_was_caught_inside_is_not_used_again(opened):
    def fail():
        with (
            borrowed(DATABASE, shares=True),
            suppress(OperationalError),
            connections[DATABASE].cursor() as cursor,
        ):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with at_work(2):
        in_a_thread(fail)
        assert in_a_thread(ask) == 1


def test_connections_that_the_database_ended_while_they_were_kept_fail_nothing(opened):
    asking = threading.Barrier(FOUR)

    def ask_together():
        with borrowed(DATABASE, shares=True), connections[DATABASE].cursor() as cursor:
            cursor.execute("SELECT 1")
            asking.wait()

    with at_work(2):
        with ThreadPoolExecutor(FOUR) as threads:
            for done in [threads.submit(ask_together) for _ in range(FOUR)]:
                done.result()
        with connections[DATABASE].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.rowcount == FOUR
        time.sleep(0.2)
        assert [in_a_thread(ask) for _ in range(TIMES)] == [1] * TIMES


def test_what_a_host_sets_for_its_session_reaches_no_other_turn(opened):
    def name_somebody():
        with borrowed(DATABASE), connections[DATABASE].cursor() as cursor:
            cursor.execute("SELECT set_config('app.user', 'alice', false)")

    def who():
        with borrowed(DATABASE, shares=True), connections[DATABASE].cursor() as cursor:
            cursor.execute("SELECT current_setting('app.user', true)")
            return cursor.fetchone()[0]

    with at_work(2):
        in_a_thread(name_somebody)
        assert not in_a_thread(who)


def test_a_thread_with_a_wrapper_around_its_statements_keeps_it(opened):
    seen = []

    def wrapper(execute, *args):
        seen.append(args[0])
        return execute(*args)

    def wrapped():
        with connections[DATABASE].execute_wrapper(wrapper):
            ask()

    with at_work(2):
        in_a_thread(ask)
        in_a_thread(wrapped)
    assert seen == ["SELECT 1"]


def test_kept_connections_of_a_database_that_nobody_asks_any_more_are_closed(opened, monkeypatch):
    with at_work(2):
        in_a_thread(ask)
        monkeypatch.setattr(ours, "_FRESH", -1.0)
        in_a_thread(lambda: ask("default"))
        wait_until(lambda: connections_of_others() == 0)


def test_a_look_at_many_watched_turns_opens_one_connection(opened, bench):
    rows = bench.rows()
    keys = [rows.key_of(bench.copy(bench.message_of(bench.record()))) for _ in range(5)]
    connections.close_all()
    opened.clear()

    def look():
        run_sync(rows.heads(keys))
        for key in keys:
            run_sync(rows.row(key))
        rows.give_back()

    in_a_thread(look)
    assert len(opened) == 1


def test_a_connection_that_is_left_in_a_transaction_is_not_used_again(opened):
    def leave_open():
        with borrowed(DATABASE, shares=True):
            connections[DATABASE].set_autocommit(False)
            ask()

    with at_work(2):
        in_a_thread(leave_open)
        assert in_a_thread(ask) == 1
    assert len(opened) == 2


def test_inside_a_transaction_of_the_caller_its_own_connection_is_used(opened):
    def look():
        try:
            with transaction.atomic(using=DATABASE):
                mine = connections[DATABASE]
                with borrowed(DATABASE, shares=True):
                    return connections[DATABASE] is mine
        finally:
            connections.close_all()

    with at_work(2):
        assert in_a_thread(look)


def test_requests_that_come_all_at_once_look_into_the_database_a_few_at_a_time(opened):
    """Each has a thread of its own, as under ASGI."""
    from opencode_sessions.django.views.access import few_at_once  # noqa: PLC0415 - once Django is configured

    requests = 100
    coming, counted = threading.Barrier(requests), []

    @few_at_once
    def view():
        counted.append(connections_of_others() + 1)
        return HttpResponse()

    def request():
        coming.wait()
        view()

    with ThreadPoolExecutor(requests) as threads:
        for done in [threads.submit(request) for _ in range(requests)]:
            done.result()
    assert len(counted) == requests
    # PostgreSQL counts one that was closed for a moment yet.
    assert max(counted) <= 2 * FEW


def test_a_request_that_fails_gives_its_place_back(opened, monkeypatch):
    from opencode_sessions.django.views import access  # noqa: PLC0415 - once Django is configured

    places = threading.BoundedSemaphore(1)
    monkeypatch.setattr(access, "_places", places)

    def fail():
        raise OperationalError("it cannot be closed")

    monkeypatch.setattr(access, "give_back_connections", fail)
    with pytest.raises(OperationalError):
        access.few_at_once(HttpResponse)()
    assert places.acquire(blocking=False)
