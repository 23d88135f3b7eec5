"""The tries of one turn: how long a server that is away is waited for, and a process that ends meanwhile."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from django.db import connection, connections

from opencode_sessions import Deadlines
from opencode_sessions.django.host import host
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.records import DjangoRecordStore
from opencode_sessions.django.turn_table import table
from opencode_sessions.jobs.attempts import TurnAttempts
from opencode_sessions.runtime.stepping import run_sync

BOTH = pytest.mark.parametrize("when_busy", ["reject", "wait"])


class Time:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def away(chat, opencode):
    """Settings whose server is away, and is waited for one minute."""
    options = {"deadlines": Deadlines(unreachable=60)}
    changes = {
        "SERVER": "http://127.0.0.1:9",
        "TURN_OPTIONS": lambda _: options,
        "ON_ERROR": lambda *_: None,
    }
    with chat.configured(opencode, **changes):
        yield changes


@contextmanager
def another_turn_runs(message):
    """In another process, as the claim in the record's row says."""
    record, other = (
        DjangoRecordStore(message.conversation),
        type(message)(prompt="x", conversation=message.conversation),
    )
    other.save()
    key = DjangoMessageStore(other).key
    run_sync(record.claim(key, 600))
    yield
    run_sync(record.unclaim(key))


@pytest.mark.usefixtures("away")
def test_a_server_that_is_away_is_waited_for_as_long_as_it_was_said_and_no_longer(chat):
    message, pauses = chat.message("hello"), []
    attempts = TurnAttempts(host, table.job_of(message), when_busy="reject", clock=Time())
    while (pause := run_sync(attempts.attempt())) is not None:
        pauses.append(pause)
    assert sum(pauses) == 60
    assert chat.row(message).status == "failed"


@pytest.mark.usefixtures("away")
def test_while_another_turn_runs_no_patience_is_spent(chat):
    message, time = chat.message("hello"), Time()
    attempts = TurnAttempts(host, table.job_of(message), when_busy="reject", clock=time)
    assert run_sync(attempts.attempt()) == 0.5
    with another_turn_runs(message):
        for _ in range(8):
            time.now += 60
            run_sync(attempts.attempt())
    assert run_sync(attempts.attempt()) == 0.5, "as soon again as after the first failure"
    assert chat.row(message).status == "pending"


@pytest.mark.full
@pytest.mark.usefixtures("away")
def test_a_server_that_is_away_for_too_long_fails_a_turn_though_others_get_in_between(chat):
    message, time = chat.message("hello"), Time()
    attempts = TurnAttempts(host, table.job_of(message), when_busy="reject", clock=time, patience=2)
    spent = []
    while (pause := run_sync(attempts.attempt())) is not None:
        spent.append(pause)
        time.now += pause
        with another_turn_runs(message):
            time.now += run_sync(attempts.attempt())
    assert sum(spent) == 2
    assert chat.row(message).status == "failed"
    assert attempts.result.error["name"] == "ServerUnreachableError"


@BOTH
def test_what_a_try_waits_before_its_turn_is_taken_spends_no_patience(chat, opencode, away, when_busy):
    message, time = chat.message("hello"), Time()

    def options(_):
        time.now += 600  # as a wait for another turn would
        return {"deadlines": Deadlines(unreachable=60)}

    with chat.configured(opencode, **{**away, "TURN_OPTIONS": options}):
        attempts = TurnAttempts(host, table.job_of(message), when_busy=when_busy, clock=time)
        assert [run_sync(attempts.attempt()) for _ in range(3)] == [0.5, 1.0, 2.0]


def test_a_try_that_takes_long_spends_patience(chat, away):
    message, time = chat.message("hello"), Time()

    @contextmanager
    def slowly():
        def wait(execute, sql, *rest):
            time.now += 50 * ("opencode_turn_lease" in sql and sql.startswith("UPDATE"))
            return execute(sql, *rest)

        with connection.execute_wrapper(wait):
            yield

    attempts = TurnAttempts(host, table.job_of(message), when_busy="reject", clock=time)
    with slowly():  # the row is put back, 50 s after it was taken
        assert [run_sync(attempts.attempt()) for _ in range(2)] == [0.5, None]
    assert chat.row(message).status == "failed"


def test_a_turn_that_was_let_go_before_it_began_is_not_begun(chat):
    message = chat.message("hello")
    attempts = TurnAttempts(host, table.job_of(message), when_busy="reject")
    run_sync(attempts.release())
    assert run_sync(attempts.attempt()) is None
    row = chat.row(message)
    assert (row.status, row.opencode_turn_epoch, row.opencode_turn_lease) == ("pending", 0, None)
    with another_turn_runs(message):
        pass  # the record is free
    assert run_sync(TurnAttempts(host, table.job_of(message), when_busy="reject").attempt()) is None
    assert chat.row(message).status == "completed"


@pytest.mark.parametrize("written", ["as it is taken", "as it runs", "as it is put back"])
def test_who_lets_go_while_the_row_is_written_has_the_last_word(chat, opencode, words, written):
    message = chat.message("hello", lease=120)
    attempts = TurnAttempts(host, table.job_of(message), when_busy="reject")
    free, is_written = [], threading.Event()

    def let_go():
        run_sync(attempts.release())
        run_sync(table.release([attempts.job]))
        is_written.wait(60)
        free.append(chat.Message.objects.abandoned().filter(pk=message.pk).exists())
        connections.close_all()
        words.all()

    letting = threading.Thread(target=let_go)

    def meanwhile(execute, sql, *rest):
        begins = sql.startswith("UPDATE") and _writes(sql, rest[0]) == written and not letting.ident
        if begins:
            letting.start()
            is_written.wait(0.5)  # who does not wait is through by then
        done = execute(sql, *rest)
        if begins:
            is_written.set()
        return done

    away = {"SERVER": "http://127.0.0.1:9"} if written == "as it is put back" else {}
    with chat.configured(opencode, **away), connection.execute_wrapper(meanwhile):
        run_sync(attempts.attempt())
    letting.join()
    assert free == [True]


def _writes(sql, values):
    if '"opencode_turn_lease"' not in sql.partition("WHERE")[0]:
        return "something else"
    if '"started_at"' not in sql:
        return "as it runs"
    return "as it is taken" if "streaming" in values[:1] else "as it is put back"
