"""Turns that were left behind are found and taken up, and those that live are left alone."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core import mail
from django.core.signals import request_started
from django.db import OperationalError, connections
from django.utils import timezone
from fix_django_app import wait_until

from opencode_sessions.django import abandoned, enqueue, host
from opencode_sessions.django.host import thread_pool
from opencode_sessions.django.turn_table import table
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.messages import PENDING_LEASE

pytestmark = pytest.mark.usefixtures("nothing_left")

BOTH = pytest.mark.parametrize("using", ["default", "postgres"])
SLOW = "!slow 0.1\n!say one two three four five six seven eight nine ten"


def left_behind():
    return run_sync(table.abandoned(reserve_for=PENDING_LEASE))


@pytest.fixture
def runner():
    made = thread_pool(4, every=0.2)
    yield made
    made.stop()
    wait_until(lambda: not any(thread.is_alive() for thread in made.threads))


def ago(seconds):
    return timezone.now() - timedelta(seconds=seconds)


@BOTH
@pytest.mark.parametrize(
    ("status", "lease", "is_left"),
    [
        ("pending", None, False),  # never enqueued
        ("pending", -30, False),
        ("pending", 1, True),
        ("streaming", None, True),
        ("streaming", -30, False),
        ("streaming", 1, True),
        ("completed", 1, False),
    ],
)
def test_what_counts_as_abandoned(chat, using, status, lease, is_left):
    until = None if lease is None else ago(lease)
    message = chat.message("hello", using=using, status=status, opencode_turn_lease=until)
    rows = chat.Message.objects.using(using)
    assert rows.filter(abandoned()).exists() is is_left
    assert rows.abandoned().exists() is is_left
    assert rows.running().exists() is (status == "streaming" and not is_left)
    assert [job.pk for job in left_behind()] == [str(message.pk)] * is_left


@BOTH
def test_of_two_that_look_one_undertakes_a_turn_that_had_not_begun(chat, using):
    chat.message("hello", using=using, opencode_turn_lease=ago(1))
    assert len(left_behind()) == 1
    assert left_behind() == []


@BOTH
def test_what_was_promised_by_a_process_that_died_is_run_by_another(chat, using, runner):
    message = chat.message("hello", using=using, opencode_turn_lease=ago(1))
    runner.start()
    assert chat.ended(message).status == "completed"


def test_what_is_left_behind_later_is_found_too(chat, runner):
    runner.start()
    time.sleep(0.5)
    message = chat.message("hello", opencode_turn_lease=timezone.now() + timedelta(seconds=0.5))
    assert chat.ended(message).status == "completed"


def test_a_promise_is_kept_fresh_while_its_turn_waits(chat, runner, held):
    conversation = chat.conversation()
    first, second = (chat.message(SLOW, conversation) for _ in range(2))
    for message in (first, second):
        run_sync(table.reserve(message, PENDING_LEASE))
        runner.dispatch(table.job_of(message))
    wait_until(lambda: chat.row(first).status == "streaming")
    seen = {wait_until(lambda: chat.row(second).opencode_turn_lease)}
    wait_until(lambda: chat.row(second).opencode_turn_lease not in seen)
    assert chat.row(second).status == "pending"


def test_a_runner_that_stops_leaves_what_runs_and_what_waits_to_others_at_once(chat, runner, words):
    conversation = chat.conversation()
    first, second = (chat.message(SLOW, conversation) for _ in range(2))
    for message in (first, second):
        run_sync(table.reserve(message, PENDING_LEASE))
        runner.dispatch(table.job_of(message))
    words.up_to(1)
    wait_until(lambda: chat.row(first).content)
    runner.stop()
    assert chat.Message.objects.abandoned().count() == 2
    runner.dispatch(table.job_of(chat.message("too late")))
    words.all()
    other = thread_pool(4, every=0.2)
    other.start()
    rows = [chat.ended(message) for message in (first, second)]
    other.stop()
    assert [row.status for row in rows] == ["completed"] * 2
    assert rows[0].opencode_turn_epoch == 2


def test_a_database_that_has_no_such_table_is_passed_over(chat, bare_database):
    message = chat.message("hello", opencode_turn_lease=ago(1))
    assert [job.pk for job in left_behind()] == [str(message.pk)]


def test_the_first_request_of_a_process_takes_up_what_was_left_behind(chat, opencode, monkeypatch):
    message = chat.message("hello", opencode_turn_lease=ago(1))
    monkeypatch.setattr(host._held, "serving", False)
    with chat.configured(opencode, RECOVER_AT_START=True):
        request_started.send(chat.Message)
        assert chat.ended(message).status == "completed"


def test_without_leave_to_recover_a_request_starts_nothing(chat, opencode, monkeypatch):
    monkeypatch.setattr(host._held, "serving", False)
    with chat.configured(opencode, RECOVER_AT_START=False):
        request_started.send(chat.Message)
        assert host._held.dispatcher is None


def test_under_a_test_runner_of_djangos_a_request_starts_nothing(chat, opencode, monkeypatch):
    monkeypatch.setattr(host._held, "serving", False)
    monkeypatch.setattr(mail, "outbox", [], raising=False)
    with chat.configured(opencode, RECOVER_AT_START=True):
        request_started.send(chat.Message)
        assert host._held.dispatcher is None


def test_settings_that_cannot_work_are_logged_and_break_no_request(chat, monkeypatch, caplog):
    monkeypatch.setattr(host._held, "serving", False)
    with chat.configured({}, RUNNER="celery"):
        request_started.send(chat.Message)
    assert 'OPENCODE["RUNNER"]' in caplog.text


def test_a_turn_that_runs_here_is_not_found_by_another(chat, held):
    message = chat.message(SLOW)
    enqueue(message)
    wait_until(lambda: chat.row(message).content)
    assert left_behind() == []
    assert chat.row(message).status == "streaming"
    held.set()
    chat.ended(message)


@contextmanager
def unreachable(using):
    def refuse(*_):
        raise OperationalError("the database is away")

    with connections[using].execute_wrapper(refuse):
        yield


def test_a_database_that_is_away_keeps_no_other_ones_turns_from_being_found_and_reserved(chat, caplog):
    lost, waiting = chat.message("hello", using="postgres"), chat.message("hello", using="postgres")
    type(lost).objects.using("postgres").filter(pk=lost.pk).update(
        opencode_turn_lease=timezone.now() - timedelta(seconds=1)
    )
    run_sync(table.reserve(waiting, 200))
    elsewhere = chat.message("hello")
    run_sync(table.reserve(elsewhere, 200))
    with unreachable("default"):
        assert [job.pk for job in left_behind()] == [str(lost.pk)]
        run_sync(table.renew([table.job_of(elsewhere), table.job_of(waiting)], 600))
    assert chat.row(waiting).opencode_turn_lease > timezone.now() + timedelta(seconds=300)
    assert chat.row(elsewhere).opencode_turn_lease < timezone.now() + timedelta(seconds=300)
    assert caplog.text.count("in the database default") == 2
