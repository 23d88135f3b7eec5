"""Turns in the workers of task queues, with real brokers, and processes that are killed: the same for every queue."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from fix_django_app import wait_until
from fix_queues import FILES, PATIENCE, QUEUES

ASKING = '!tool bash {"command": "true", "description": "x"}\n!say done'
HELD = "!say one two three four five six"
REPEATING = """
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    worker_disable_prefetch=False,
    broker_transport_options={
        "visibility_timeout": 2,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
)
"""

# Each queue shows that its adapter works. What the row decides, two of them show; or all, with QUEUES=all.
TWO = QUEUES if os.environ.get("QUEUES") == "all" else ["celery", "procrastinate"]
AND_RABBITMQ = list(dict.fromkeys([*TWO, "celery-rabbitmq"]))
BROKERS = [name for name in AND_RABBITMQ if QUEUES[name].broker]
every_queue = pytest.mark.parametrize("queued", QUEUES, indirect=True)
two_queues_and_rabbitmq = pytest.mark.parametrize("queued", AND_RABBITMQ, indirect=True)
two_brokers = pytest.mark.parametrize("queued", BROKERS, indirect=True)
two_queues = pytest.mark.parametrize("queued", TWO, indirect=True)
in_celery = pytest.mark.parametrize("queued", ["celery"], indirect=True)


@pytest.mark.lines(full="v2")
@in_celery
def test_a_worker_answers_the_messages_of_a_record_in_their_order(queued):
    others = queued.send("beside")
    keys = queued.send("first", "second", "third")
    queued.work()
    rows = [queued.ended(key) for key in (*keys, *others)]
    assert [row.status for row in rows] == ["completed"] * 4
    assert rows[2].content == 'You said: "third". Before that you said: "second".'
    started = [row.started_at for row in rows[:3]]
    assert started == sorted(started)
    assert queued.told() == []


@pytest.mark.full
@every_queue
def test_a_turn_outlives_a_worker_that_is_told_to_end_and_one_that_is_killed(queued, held, client):
    key = hands_over(queued, *queued.queue.ending)
    second = queued.work()
    queued.recover()
    queued.wait(key, lambda row: row.opencode_turn_epoch == 2)
    queued.kill(second)
    queued.work()
    queued.wait(key, lambda row: row.opencode_turn_epoch > 2)
    completes(queued, held, client, key)


@pytest.mark.full
@in_celery
def test_a_process_of_celerys_pool_that_is_told_to_end_hands_its_turn_over(queued, held, client):
    key = hands_over(queued, REMAP_SIGTERM="SIGQUIT")
    queued.work()
    queued.recover()
    queued.wait(key, lambda row: row.opencode_turn_epoch > 1)
    completes(queued, held, client, key)


def hands_over(queued, *arguments, **environ):
    """The key of a turn that a worker has left in its middle, as it was told to end."""
    (key,) = queued.send(HELD)
    worker = queued.work(*arguments, **environ)
    queued.wait(key, lambda row: "four" in row.content)
    queued.tell_to_end(worker)
    row = queued.rows()[key]
    assert (row.status, row.opencode_turn_epoch) == ("streaming", 1)
    assert "four" in row.content
    assert queued.is_abandoned(key)
    return key


def completes(queued, held, client, key):
    """The turn that was handed over ends with its whole answer, to one prompt, and nothing went wrong."""
    held.set()
    row = queued.ended(key)
    assert (row.status, row.content) == ("completed", "one two three four five six")
    assert (prompted(client, row), queued.told()) == (1, [])


@pytest.mark.full
@two_queues
def test_jobs_that_come_again_run_nothing_twice_and_hold_no_slot(queued, held, client):
    (key,) = queued.send(HELD)
    queued.work()
    queued.wait(key, lambda row: "four" in row.content)
    queued.act("repeat", key)
    queued.work()
    (other,) = queued.send("beside")
    assert queued.ended(other).status == "completed"
    held.set()
    row = queued.ended(key)
    queued.act("repeat", key)
    (last,) = queued.send("last")
    queued.ended(last)
    assert queued.rows()[key] == row
    assert (row.status, row.opencode_turn_epoch, prompted(client, row)) == ("completed", 1, 1)
    assert queued.told() == []


@pytest.mark.full
@two_queues_and_rabbitmq
def test_a_turn_that_waits_leaves_the_only_slot_to_others(queued, client):
    asking, behind = queued.send(ASKING, "behind")
    queued.work()
    queued.wait(asking, lambda row: row.opencode_turn_parked)
    (other,) = queued.send("beside")
    assert queued.ended(other).status == "completed"
    assert queued.rows()[behind].status == "pending"
    queued.act("answer", asking)
    row, after = queued.ended(asking), queued.ended(behind)
    assert (row.status, row.content, prompted(client, row)) == ("completed", "done", 2)
    assert after.content.startswith('You said: "behind".')
    assert queued.told() == []


@pytest.mark.full
@two_queues
def test_turns_that_wait_for_a_limit_leave_the_only_slot_to_others_and_run_when_it_is_free(
    queued, held, client
):
    queued.environ["ONE_AT_A_TIME"] = HELD
    (first,) = queued.send(HELD)
    queued.work()
    queued.wait(first, lambda row: "four" in row.content)
    waiting = [key for _ in range(2) for key in queued.send(HELD)]
    queued.work()
    for key in waiting:
        queued.wait(key, lambda row: row.opencode_turn_parked)
    (other,) = queued.send("beside")
    assert queued.ended(other).status == "completed"
    assert [queued.rows()[key].status for key in waiting] == ["pending", "pending"]
    held.set()
    rows = [queued.ended(key) for key in (first, *waiting)]
    assert [(row.status, prompted(client, row)) for row in rows] == [("completed", 1)] * 3
    runs = sorted((row.started_at, row.finished_at) for row in rows)
    assert all(before[1] <= after[0] for before, after in pairwise(runs))
    assert queued.told() == []


@pytest.mark.full
@two_brokers
def test_a_turn_that_is_enqueued_while_the_broker_is_away_is_told_and_run_by_recovery(queued):
    scheme = queued.environ["BROKER_URL"].partition("://")[0]
    (key,) = queued.send("hello", BROKER_URL=f"{scheme}://127.0.0.1:1//")
    (told,) = queued.told()
    assert told.startswith("enqueue: ")
    assert queued.rows()[key].status == "pending"
    queued.work()
    queued.recover()
    assert queued.ended(key).content == 'You said: "hello".'


@pytest.mark.full
@pytest.mark.parametrize(
    ("queued", "jobs"),
    [("procrastinate", "procrastinate_jobs"), ("dbos", "dbos.workflow_status")],
    indirect=["queued"],
)
def test_a_job_in_the_hosts_database_is_committed_and_rolled_back_with_the_message(queued, jobs):
    key = queued.act("die_after_the_commit", ["hello"])
    assert list(queued.rows()) == [key]
    assert queued.count(jobs) == 1
    queued.work()
    assert queued.ended(key).content == 'You said: "hello".'
    assert queued.told() == []


@pytest.mark.full
@in_celery
def test_an_asyncio_app_enqueues_for_workers_without_an_event_loop(queued):
    (lost,) = queued.send("hello", app="web_app", BROKER_URL="redis://127.0.0.1:1")
    (told,) = queued.told()
    assert told.startswith("enqueue: OperationalError")
    queued.work()
    asking, after = queued.send(ASKING, "after", app="web_app")
    queued.wait(asking, lambda row: row.opencode_turn_parked)
    queued.act("answer", asking, app="web_app")
    assert queued.ended(after).status == "completed"
    assert queued.rows()[lost].status == "pending"
    queued.python("-m", "opencode_sessions.cli", "recover", "web_app:opencode")
    assert queued.ended(lost).status == "completed"


@pytest.mark.full
@in_celery
def test_jobs_that_celery_repeats_after_its_visibility_timeout_run_one_turn_each(queued, held, client):
    with (queued.folder / "celery_app.py").open("a") as file:
        file.write(REPEATING)
    keys = [key for _ in range(4) for key in queued.send(HELD)]
    workers = [queued.work() for _ in range(2)]
    queued.wait(keys[0], lambda row: "four" in row.content)
    wait_until(lambda: sum(each.log.read_text().count("received") for each in workers) > len(keys), PATIENCE)
    held.set()
    for key in keys:
        row = queued.ended(key)
        assert (row.status, row.opencode_turn_epoch, prompted(client, row)) == ("completed", 1, 1)
    assert queued.told() == []


@pytest.mark.full
@in_celery
def test_a_turn_whose_job_is_revoked_and_its_process_killed_is_gone_on_with(queued, held, client):
    (key,) = queued.send(HELD)
    queued.work()
    queued.recover()
    queued.wait(key, lambda row: "four" in row.content)
    queued.act("revoke", "SIGKILL")
    queued.wait(key, lambda row: row.opencode_turn_epoch > 1)
    held.set()
    row = queued.ended(key)
    assert (row.status, prompted(client, row)) == ("completed", 1)


@pytest.mark.full
@in_celery
def test_a_job_of_a_newer_release_is_refused_in_the_worker_and_its_turn_is_run_later(queued):
    worker = queued.work()
    (key,) = queued.send("hello", BROKER_URL="redis://127.0.0.1:1")
    queued.act("send_newer", key)
    wait_until(lambda: "fields that this release does not know: colour" in worker.log.read_text(), PATIENCE)
    assert queued.rows()[key].status == "pending"
    queued.recover()
    assert queued.ended(key).status == "completed"


def test_the_settings_of_the_docs_hold_for_all_their_queues():
    documented = {}
    exec(FILES["policy.py"], documented)  # noqa: S102 - the other files of the docs are run with leases that end sooner
    assert documented["settings"].namespace == "shop"
    assert {queue.app for queue in QUEUES.values()} == {
        name[:-3] for name in FILES if name.endswith("_app.py")
    }


def prompted(client, row):
    """How many prompts are in the session."""
    found = client.messages(row.opencode_prompt_session_id)
    return sum(each.info.role == "user" for each in found)
