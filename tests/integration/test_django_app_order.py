"""The messages of one record are answered in their order, whichever process was told to, and whichever died."""

from __future__ import annotations

import itertools
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connections, models, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from fix_django_app import wait_until
from fix_stores import create_django_tables
from selection import sample

from opencode_sessions.django import cancel, enqueue, run_job, signals
from opencode_sessions.django.host import thread_pool
from opencode_sessions.django.turn_table import table
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.messages import PENDING_LEASE

pytestmark = pytest.mark.usefixtures("nothing_left")

BOTH = pytest.mark.parametrize("using", sample(["postgres", "default"]))
SLOW = "!slow 0.1\n!say one two three four five six seven eight nine ten"


@pytest.fixture
def make_runner(chat):
    made = []

    def make(**options):
        made.append(thread_pool(2, **options))
        return made[-1]

    yield make
    for runner in made:
        runner.stop()
        wait_until(lambda runner=runner: not any(thread.is_alive() for thread in runner.threads))


def soon(seconds):
    return timezone.now() + timedelta(seconds=seconds)


def begun(chat, conversation, lease):
    """A message whose turn was begun by a process that died."""
    fields = {"status": "streaming", "opencode_turn_epoch": 1, "opencode_turn_lease": soon(lease)}
    return chat.message("first", conversation, conversation._state.db, **fields)


def enqueued(message):
    run_sync(table.reserve(message, PENDING_LEASE))
    return message


def in_order(chat, *messages):
    rows = [chat.ended(message) for message in messages]
    assert [row.status for row in rows] == ["completed"] * len(rows)
    assert all(earlier.finished_at <= later.started_at for earlier, later in itertools.pairwise(rows))
    return rows


@BOTH
def test_a_turn_that_was_begun_comes_before_one_that_is_found_earlier(chat, make_runner, using):
    conversation = chat.conversation(using)
    first = begun(chat, conversation, 1.5)
    second = chat.message("second", conversation, using, opencode_turn_lease=soon(-1))
    runner = make_runner(every=0.2)
    runner.start()
    in_order(chat, first, second)
    assert chat.row(first).opencode_turn_epoch == 2


def test_a_turn_that_was_begun_is_put_before_what_stands_before_it_in_its_lane(chat, make_runner):
    conversation = chat.conversation()
    first = begun(chat, conversation, -1)
    second, third = (enqueued(chat.message(prompt, conversation)) for prompt in ("second", "third"))
    runner = make_runner(recover=False)
    for message in (third, second, first):
        runner.dispatch(table.job_of(message))
    in_order(chat, first, second, third)
    wait_until(lambda: runner.idle)


@BOTH
def test_two_processes_answer_what_both_were_told_to_in_order(chat, make_runner, using):
    conversation = chat.conversation(using)
    here, there = make_runner(), make_runner()
    messages = [chat.message(prompt, conversation, using) for prompt in (SLOW, "second", "third", "fourth")]
    for runner, message in zip((here, there, here, here), messages, strict=True):
        runner.dispatch(table.job_of(enqueued(message)))
    rows = in_order(chat, *messages)
    assert [row.opencode_turn_epoch for row in rows] == [1] * 4
    wait_until(lambda: here.idle and there.idle)


def test_what_nobody_enqueued_or_stands_in_another_conversation_is_left_alone(chat):
    conversation = chat.conversation()
    draft = chat.message("a draft", conversation)
    other = enqueued(chat.message("of another conversation"))
    later = enqueued(chat.message("to be answered", conversation))
    latest = enqueued(chat.message("later still", conversation))
    assert run_job(table.job_of(later)).status == "completed"
    assert [chat.row(each).status for each in (draft, other, latest)] == ["pending"] * 3


def test_a_worker_runs_what_comes_first_and_who_finds_it_done_tells_nobody(chat):
    conversation = chat.conversation()
    first, second, third = (enqueued(chat.message(f"number {each}", conversation)) for each in range(3))
    told = []

    def receive(pk, **_):
        told.append(pk)

    signals.turn_finished.connect(receive)
    try:
        assert run_job(table.job_of(third)).content.startswith('You said: "number 2"')
        assert run_job(table.job_of(first)).content == 'You said: "number 0".'
    finally:
        signals.turn_finished.disconnect(receive)
    in_order(chat, first, second, third)
    assert told == [first.pk, second.pk, third.pk]


def test_a_worker_parks_what_waits_for_another_turn_and_who_takes_that_up_when_its_runner_died_runs_both(
    chat, make_runner
):
    conversation = chat.conversation()
    first, second = begun(chat, conversation, 60), enqueued(chat.message("second", conversation))
    assert run_job(table.job_of(second)) is None
    assert chat.Message.objects.parked().get() == second
    chat.Message.objects.filter(pk=first.pk).update(opencode_turn_lease=soon(-1))
    runner = make_runner(every=0.2)
    runner.start()
    in_order(chat, first, second)


@pytest.mark.parametrize("status", sample(["pending", "streaming"]))
def test_a_row_that_nobody_can_run_holds_its_conversation_up_for_a_moment_only(chat, make_runner, status):
    conversation = chat.conversation()
    broken = chat.message("broken", conversation, parts=5, status=status, opencode_turn_lease=soon(-1))
    message = enqueued(chat.message("hello", conversation))
    runner = make_runner(recover=False)
    runner.dispatch(table.job_of(message))
    assert chat.ended(message).status == "completed"
    assert chat.row(broken).status == status


def test_a_begun_turn_that_the_host_keeps_from_running_holds_its_conversation_up_until_it_is_cancelled(
    chat, opencode, make_runner
):
    conversation = chat.conversation()
    first, second = begun(chat, conversation, -1), enqueued(chat.message("second", conversation))
    wrong, told = [True], []

    def options(message):
        if wrong and message.pk == first.pk:
            raise ValueError("no such agent")
        return {}

    with chat.configured(opencode, TURN_OPTIONS=options, ON_ERROR=lambda *what: told.append(what)):
        make_runner(recover=False).dispatch(table.job_of(second))
        wait_until(lambda: told)
        assert chat.row(second).status == "pending"
        wrong.clear()
        assert cancel(first, by="ada")
        other = make_runner(recover=False)  # the other one looks again in half a minute
        other.dispatch(table.job_of(second))
        assert chat.ended(second).status == "completed"
    assert len(told) == 1


def test_a_turn_that_cancels_what_runs_waits_for_nothing(chat, opencode):
    conversation = chat.conversation()
    first, second = (enqueued(chat.message(prompt, conversation)) for prompt in ("first", "second"))
    with chat.configured(opencode, TURN_OPTIONS=lambda _: {"when_busy": "cancel"}):
        assert run_job(table.job_of(second)).status == "completed"
    assert chat.row(first).status == "pending"


def test_what_is_enqueued_while_a_process_ends_is_left_to_others_at_once(chat, make_runner):
    runner = make_runner(recover=False)
    runner.start()
    runner.stop()
    message = enqueued(chat.message("hello"))
    runner.dispatch(table.job_of(message))
    assert chat.Message.objects.abandoned().get() == message


def test_who_stops_what_is_being_stopped_waits_until_it_is(chat, make_runner, monkeypatch, held):
    monkeypatch.setattr("opencode_sessions.jobs.thread_pool.SHUTDOWN_TIMEOUT", 60)
    runner = make_runner(recover=False)
    runner.dispatch(table.job_of(enqueued(message := chat.message(SLOW))))
    wait_until(lambda: chat.row(message).content)
    stops = [threading.Thread(target=runner.stop) for _ in range(2)]
    with transaction.atomic():
        chat.message("what only one may write at a time in SQLite")
        for each in stops:
            each.start()
            each.join(0.3)
        assert all(each.is_alive() for each in stops)
    for each in stops:
        each.join()
    assert chat.Message.objects.abandoned().get() == message


def test_what_comes_first_is_one_query_and_what_it_says_for_keys_of_all_kinds(chat, with_model):
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - once Django is configured

    def conversation():
        return models.ForeignKey(chat.Conversation, on_delete=models.CASCADE, related_name="+")

    plain = with_model("Plain", MessageModel, conversation=conversation())
    child = with_model("Child", plain, Meta=type("Meta", (), {}), note=models.TextField())
    ticket = with_model(
        "Ticket",
        MessageModel,
        id=models.UUIDField(primary_key=True, default=uuid.uuid4),
        conversation=conversation(),
    )
    made = [plain, child, ticket]
    create_django_tables(*made, aliases=["default"])
    try:
        for model in (plain, child, ticket):
            record = chat.conversation()
            earlier, later = (model.objects.create(prompt="hello", conversation=record) for _ in range(2))
            rows = model.objects.filter(pk=earlier.pk)
            for each in (earlier, later, earlier):  # who is enqueued again keeps the place that it has
                enqueued(each).refresh_from_db()
            with CaptureQueriesContext(connections["default"]) as queries:
                found = ahead_of(later)
            assert len(queries) == 1
            assert found == (table.job_of(earlier), False)
            assert ahead_of(earlier) is None
            stored = rows if model is not child else plain.objects.filter(pk=earlier.pk)
            stored.update(status="streaming", opencode_turn_lease=soon(60))
            assert ahead_of(later) == (table.job_of(earlier), True)
            stored.update(opencode_turn_lease=soon(-1))
            assert ahead_of(later) == (table.job_of(earlier), False)
            stored.update(status="completed")
            assert ahead_of(later) is None
    finally:
        with connections["default"].schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)


def test_a_retry_has_a_place_of_its_own_after_all_that_was_enqueued(chat, opencode):
    from opencode_sessions.django.views.retrying import retry_of  # noqa: PLC0415 - once Django is configured

    with chat.configured(opencode, RUNNER=Nobody):
        conversation = chat.conversation()
        first, second = (chat.message(prompt, conversation) for prompt in ("first", "second"))
        for each in (first, second):
            enqueue(each)
        assert cancel(first, by="ada")
        retry = retry_of(first)
    assert [chat.row(each).opencode_turn_order for each in (first, second, retry)] == [1, 2, 3]


def test_a_turn_has_its_place_from_the_instant_in_which_it_is_undertaken(chat):
    message, seen = chat.message("hello"), []

    def look(execute, sql, *rest):
        done = execute(sql, *rest)
        if sql.startswith("UPDATE"):
            row = chat.row(message)
            seen.append((row.opencode_turn_order, row.opencode_turn_lease is not None))
        return done

    with connections["default"].execute_wrapper(look):
        enqueued(message)
        enqueued(message)
    assert set(seen) == {(1, True)}


def ahead_of(message):
    return run_sync(table.ahead_of(table.job_of(message), message))


class Nobody:
    """A dispatcher whose queue nobody works on."""

    pending_lease = PENDING_LEASE

    def dispatch(self, job):
        pass
