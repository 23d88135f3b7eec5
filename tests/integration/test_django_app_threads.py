"""The threads of a `ThreadPool`: as many as it may have, also after asks, and where none can be started."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta

import pytest
from django.core.signals import request_started
from django.utils import timezone
from fix_django_app import wait_until

from opencode_sessions import Answer, allow, ask
from opencode_sessions.django import enqueue, host, turn_for
from opencode_sessions.django.host import thread_pool
from opencode_sessions.django.turn_table import table
from opencode_sessions.turns import parking

pytestmark = pytest.mark.usefixtures("nothing_left")

ASKING = '!tool bash {"command": "true", "description": "x"}'
ASKING_AND_LONG = '!tool bash {"command": "sleep 110", "description": "x"}'
OF_A_RUNNER = ("opencode-sessions turns", "opencode-sessions keeper")
SLOW = "!slow 0.1\n!say one two three four five"


@pytest.fixture
def asking(chat, opencode):
    """Settings under which a command must be allowed."""
    with chat.configured(opencode, PERMISSIONS_FOR=lambda _: [allow("*"), ask("bash")]):
        yield


@pytest.fixture
def make_runner(chat):
    made = []

    def make(threads):
        made.append(thread_pool(threads, every=0.2))
        return made[-1]

    yield make
    for runner in made:
        runner.stop()
        wait_until(lambda runner=runner: not any(thread.is_alive() for thread in runner.threads))


@pytest.fixture
def at_the_limit(monkeypatch):
    """While it is set, no runner can start a thread, as where a container has all the threads it may have."""
    limit, start = threading.Event(), threading.Thread.start

    def start_if_possible(thread):
        if limit.is_set() and thread.name.startswith(OF_A_RUNNER):  # a client has its own, for events
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_possible)
    return limit


def asked(chat, message):
    """The id of what the agent asks, once it does."""
    return wait_until(lambda: chat.row(message).asks)[0]["id"]


def answer(chat, message):
    turn_for(chat.row(message)).answer(asked(chat, message), Answer.once())


@pytest.mark.usefixtures("asking")
def test_when_people_have_answered_no_more_turns_run_at_once_than_before(chat, make_runner):
    runner = make_runner(1)
    waiting = [chat.message(ASKING) for _ in range(3)]
    for message in waiting:
        runner.dispatch(table.job_of(message))
    for message in waiting:
        asked(chat, message)
    for message in waiting:
        answer(chat, message)
    wait_until(lambda: runner.idle)
    following = [chat.message(SLOW) for _ in range(3)]
    for message in following:
        runner.dispatch(table.job_of(message))
    rows = sorted((chat.ended(message) for message in following), key=lambda row: row.started_at)
    for earlier, later in itertools.pairwise(rows):
        assert earlier.finished_at <= later.started_at
    assert len(runner.threads) == 1


@pytest.mark.full
@pytest.mark.usefixtures("asking")
def test_a_thread_that_is_one_too_many_leaves_its_work_to_another(chat, make_runner):
    runner = make_runner(2)
    long = chat.message(ASKING_AND_LONG)
    runner.dispatch(table.job_of(long))
    asked(chat, long)
    short = [chat.message(SLOW) for _ in range(2)]  # each with a thread of its own, beside the one that waits
    for message in short:
        runner.dispatch(table.job_of(message))
    for message in short:
        chat.ended(message)
    answer(chat, long)
    wait_until(lambda: not chat.row(long).asks)
    runner.dispatch(table.job_of(following := chat.message("hello")))
    assert chat.ended(following).status == "completed"
    assert chat.row(long).status == "streaming"
    assert len(runner.threads) == 2
    turn_for(long).cancel(by="the test")


def test_a_keeper_that_could_not_be_started_is_started_the_next_time(chat, make_runner, at_the_limit):
    runner = make_runner(1)
    at_the_limit.set()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        runner.start()
    at_the_limit.clear()
    message = chat.message("hello", opencode_turn_lease=timezone.now() - timedelta(seconds=1))
    runner.start()
    assert chat.ended(message).status == "completed"


def test_a_turn_for_which_no_thread_can_be_started_is_left_to_others_and_can_be_enqueued_again(
    chat, opencode, at_the_limit
):
    told = []
    with chat.configured(opencode, THREADS=1, ON_ERROR=lambda *what: told.append(what)):
        host.dispatcher().start()
        at_the_limit.set()
        message, other = chat.message("hello"), chat.message("of another conversation")
        enqueue(message)
        ((error, context),) = told
        assert "no thread can be started" in str(error)
        assert context.action == "enqueue"
        assert chat.row(message).opencode_turn_lease < timezone.now()
        assert host.dispatcher().idle
        at_the_limit.clear()
        for each in (message, other):
            enqueue(each)
        for each in (message, other):
            assert chat.ended(each).status == "completed"


@pytest.mark.usefixtures("asking")
def test_a_turn_asks_where_no_thread_can_stand_in_for_its_own_and_what_is_due_runs_once_one_can(
    chat, make_runner, at_the_limit, caplog, monkeypatch
):
    monkeypatch.setattr(parking, "QUIET", 60)  # parked, the turn would leave its thread to the next one
    runner = make_runner(1)
    first, second = chat.message(ASKING), chat.message("hello")
    runner.dispatch(table.job_of(first))
    at_the_limit.set()
    runner.dispatch(table.job_of(second))  # for the one thread that there is
    asked(chat, first)
    wait_until(lambda: "none can be started" in caplog.text)
    assert chat.row(second).status == "pending"
    at_the_limit.clear()
    assert chat.ended(second).status == "completed"
    answer(chat, first)
    assert chat.ended(first).status == "completed"


def test_a_request_is_served_where_no_thread_can_be_started_and_the_next_one_tries_again(
    chat, opencode, monkeypatch, at_the_limit
):
    message = chat.message("hello", opencode_turn_lease=timezone.now() - timedelta(seconds=1))
    monkeypatch.setattr(host._held, "serving", False)
    with chat.configured(opencode, RECOVER_AT_START=True):
        at_the_limit.set()
        request_started.send(chat.Message)
        at_the_limit.clear()
        request_started.send(chat.Message)
        assert chat.ended(message).status == "completed"
