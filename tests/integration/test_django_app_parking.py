"""Turns that wait hold nothing: no slot, connection or subscription; and what they wait for has them run."""

from __future__ import annotations

import io
import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from fix_django_app import connections_of_others, wait_until
from selection import sample

from opencode_sessions import Answer, Deadlines, allow, ask
from opencode_sessions.django import cancel, client, enqueue, host, run_job, signals, turn_for
from opencode_sessions.django.host import thread_pool
from opencode_sessions.django.queue import DjangoQueue
from opencode_sessions.django.turn_table import table

pytestmark = pytest.mark.usefixtures("nothing_left", "parks_soon")

BOTH = pytest.mark.parametrize("using", sample(["default", "postgres"], "postgres"))
ASKING = '!tool bash {"command": "true", "description": "x"}\n!say done'


@pytest.fixture
def make_runner(chat):
    """Makes runners that this process hands its turns to, one after the other."""
    made = []

    def make(threads=4):
        made.append(thread_pool(threads, recover=False))
        host.use(made[-1])
        return made[-1]

    yield make
    for runner in made:
        runner.stop()
        wait_until(lambda runner=runner: not any(thread.is_alive() for thread in runner.threads))


@pytest.fixture
def asking(chat, opencode):
    """Settings under which a command must be allowed, and how long a lease and a person have."""
    limits = {"lease": 120.0, "person": 600.0}
    changes = {
        "PERMISSIONS_FOR": lambda _: [allow("*"), ask("bash")],
        "TURN_OPTIONS": lambda _: {"deadlines": Deadlines(**limits)},
    }
    with chat.configured(opencode, **changes):
        yield limits


@pytest.fixture
def dies(monkeypatch):
    """A process that dies before it hands a turn on."""

    async def nothing(_):
        pass

    def die(what):
        monkeypatch.setattr(DjangoQueue, what, nothing)
        return monkeypatch

    return die


def is_parked(chat, message):
    return wait_until(
        lambda: type(message).objects.using(message._state.db).parked().filter(pk=message.pk).first()
    )


def answer(chat, message):
    row = chat.row(message)
    turn_for(row).answer(row.asks[0]["id"], Answer.once())


def prompts(message):
    session_id = message.conversation.opencode_session_id
    return [each.info.id for each in client().messages(session_id) if each.info.role == "user"]


def prompted_once(chat, *messages):
    for message in messages:
        row = chat.ended(message)
        assert (row.status, row.content) == ("completed", "done")
        row.conversation.refresh_from_db()
        assert len(prompts(row)) == 1


@BOTH
def test_turns_that_wait_for_people_hold_no_slot_connection_or_subscription(chat, asking, make_runner, using):
    runner = make_runner(4)
    waiting = [chat.message(ASKING, using=using) for _ in range(4)]
    for message in waiting:
        enqueue(message)
    for message in waiting:
        is_parked(chat, message)
    wait_until(lambda: runner.idle)
    assert (runner._waiting, len(runner.threads)) == (0, 4)
    assert len(client()._core._events._router) == 0
    if using == "postgres":
        wait_until(lambda: connections_of_others(using) == 0)
    enqueue(fifth := chat.message("hello", using=using))
    assert chat.ended(fifth).status == "completed"
    for message in waiting:
        answer(chat, message)
    prompted_once(chat, *waiting)


@BOTH
def test_a_turn_behind_a_parked_one_is_parked_too_and_runs_after_it(chat, asking, make_runner, using):
    runner, conversation = make_runner(), chat.conversation(using)
    first, second, third = (chat.message(each, conversation, using) for each in (ASKING, "second", "third"))
    for message in (first, second, third):
        enqueue(message)
    for message in (first, second, third):
        is_parked(chat, message)
    wait_until(lambda: runner.idle)
    rows = chat.Message.objects.using(using)
    assert not rows.running().exists()
    assert not rows.abandoned().exists()
    assert rows.waiting_for_answer().get() == first
    assert chat.row(first).opencode_turn_epoch == 1  # the turns behind it have not woken it
    runner.look()
    assert runner.idle  # what waits is not taken for what was left behind
    answer(chat, first)
    ended = [chat.ended(message) for message in (first, second, third)]
    assert ended[0].finished_at <= ended[1].started_at <= ended[1].finished_at <= ended[2].started_at


def test_the_doctor_and_the_admin_say_what_a_parked_turn_waits_for(chat, asking, make_runner):
    from opencode_sessions.django.admin.turns import TurnAdmin  # noqa: PLC0415 - once Django is configured

    make_runner()
    conversation = chat.conversation()
    first, second = (chat.message(each, conversation) for each in (ASKING, "second"))
    for message in (first, second):
        enqueue(message)
        is_parked(chat, message)
    out = io.StringIO()
    call_command("opencode_doctor", stdout=out)
    said = f"2 turns, 1 wait for an answer ({first.pk}), 1 wait for another turn ({second.pk})"
    assert said in out.getvalue()
    said = [TurnAdmin.turn_state(None, chat.row(each)) for each in (first, second)]
    assert said == ["streaming (waits for an answer)", "pending (waits for another turn)"]
    cancel(first, by="ada")
    assert TurnAdmin.turn_state(None, chat.ended(second)) == "completed"


def test_what_waits_behind_a_parked_turn_runs_when_that_is_cancelled(chat, asking, make_runner):
    make_runner()
    conversation = chat.conversation()
    first, second = (chat.message(each, conversation) for each in (ASKING, "second"))
    for message in (first, second):
        enqueue(message)
        is_parked(chat, message)
    assert cancel(first, by="ada")
    assert chat.ended(second).status == "completed"


@pytest.mark.full
def test_what_waits_behind_a_parked_turn_runs_when_that_ones_row_is_deleted(chat, asking, make_runner):
    runner, conversation = make_runner(), chat.conversation()
    first, second = (chat.message(each, conversation) for each in (ASKING, "second"))
    for message in (first, second):
        enqueue(message)
        is_parked(chat, message)
    chat.row(first).delete()
    runner.look()
    assert chat.ended(second).status == "completed"


def test_what_waits_behind_a_turn_whose_process_died_at_its_end_is_found(chat, asking, make_runner, dies):
    runner, conversation = make_runner(), chat.conversation()
    first, second = (chat.message(each, conversation) for each in (ASKING, "second"))
    for message in (first, second):
        enqueue(message)
        is_parked(chat, message)
    alive = dies("put_next")
    cancel(first, by="ada")
    alive.undo()
    assert chat.row(second).status == "pending"
    runner.look()
    assert chat.ended(second).status == "completed"


def test_a_turn_whose_process_died_right_after_the_answer_is_found(chat, asking, make_runner, dies):
    runner, message = make_runner(), chat.message(ASKING)
    enqueue(message)
    is_parked(chat, message)
    wait_until(lambda: runner.idle)  # it looks once more, when it has parked the turn
    asking["lease"] = 1.0
    dies("put")
    answer(chat, message)
    wait_until(lambda: chat.Message.objects.abandoned().exists())
    runner.look()
    prompted_once(chat, message)


def test_a_person_who_does_not_answer_in_time_is_not_waited_for_any_longer(chat, asking, make_runner):
    asking["person"] = 5.0
    runner, message = make_runner(), chat.message(ASKING)
    enqueue(message)
    wait_until(lambda: chat.row(message).opencode_turn_parked)
    wait_until(lambda: chat.Message.objects.abandoned().exists())
    runner.look()
    prompted_once(chat, message)
    (tool,) = [part for part in chat.row(message).parts if part["type"] == "tool"]
    assert "Nobody has answered this in time" in tool["error"]


def test_a_parked_turn_outlives_its_process(chat, asking, make_runner):
    message = chat.message(ASKING)
    enqueue_here = make_runner()
    enqueue(message)
    is_parked(chat, message)
    wait_until(lambda: enqueue_here.idle)
    enqueue_here.stop()
    assert not chat.Message.objects.abandoned().exists()
    make_runner()
    answer(chat, message)
    prompted_once(chat, message)


def test_signals_tell_of_an_answer_once_though_the_turn_was_parked(chat, asking, make_runner):
    make_runner()
    told, left, message = [], [], chat.message(ASKING)

    def receive(signal, **_):
        told.append({id(signals.turn_asked): "asked", id(signals.turn_answered): "answered"}[id(signal)])

    def leave(reason, **_):
        left.append(reason)

    signals.turn_left.connect(leave)
    for signal in (signals.turn_asked, signals.turn_answered):
        signal.connect(receive)
    try:
        enqueue(message)
        is_parked(chat, message)
        wait_until(lambda: left)
        answer(chat, message)
        prompted_once(chat, message)
    finally:
        signals.turn_left.disconnect(leave)
        for signal in (signals.turn_asked, signals.turn_answered):
            signal.disconnect(receive)
    assert told == ["asked", "answered"]
    assert left == ["parked"]


def test_a_job_that_comes_again_leaves_a_parked_turn_parked(chat, asking, make_runner):
    make_runner()
    message = chat.message(ASKING)
    enqueue(message)
    is_parked(chat, message)
    assert run_job(table.job_of(message)) is None
    row = is_parked(chat, message)
    assert len(row.asks) == 1
    answer(chat, message)
    prompted_once(chat, message)


def test_a_turn_that_was_submitted_while_a_try_of_it_was_ending_is_tried_again(
    chat, make_runner, monkeypatch
):
    runner, message = make_runner(), chat.message("hello")
    enqueue(message)
    row = chat.ended(message)
    wait_until(lambda: runner.idle)
    ending, may_end, tries = threading.Event(), threading.Event(), []

    async def attempt(attempts):
        tries.append(attempts.job)
        ending.set()
        may_end.wait(60)

    monkeypatch.setattr("opencode_sessions.jobs.attempts.TurnAttempts.attempt", attempt)
    runner.dispatch(table.job_of(row))
    ending.wait(60)
    runner.dispatch(table.job_of(row))
    may_end.set()
    wait_until(lambda: runner.idle)
    assert tries == [table.job_of(row)] * 2


def test_a_turn_that_was_parked_in_the_instant_in_which_the_other_ended_runs(chat, make_runner, monkeypatch):
    """Who looked for it before it was parked has not found it; so it looks itself whether anything is in its way."""
    make_runner()
    conversation = chat.conversation()
    later = timezone.now() + timedelta(seconds=60)
    first = chat.message(
        "first", conversation, status="streaming", opencode_turn_epoch=1, opencode_turn_lease=later
    )
    second = chat.message("second", conversation)
    seen = []

    def first_of(attempts, *_):
        from opencode_sessions.errors import TurnInProgressError  # noqa: PLC0415 - it is needed here only

        if not seen:
            seen.append(attempts.job)
            chat.Message.objects.filter(pk=first.pk).update(status="completed")
            raise TurnInProgressError("the first one runs", message_key="second")

    monkeypatch.setattr("opencode_sessions.jobs.attempts.TurnAttempts._first_of", first_of)
    enqueue(second)
    assert chat.ended(second).status == "completed"
    assert seen == [table.job_of(second)]
