"""`Host` with its own threads, as a script or an app of Flask has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest
from host_models import Answer, Prompt
from host_rows import PATIENCE, RULES, AsyncRows, Rows, open_connections, own_threads, urls_of
from selection import sample

from opencode_sessions import Answer as AskAnswer
from opencode_sessions import ConfigurationError
from opencode_sessions.host import Host, Refused
from opencode_sessions.jobs.dispatch import run_job
from opencode_sessions.jobs.thread_pool import ThreadPool
from opencode_sessions.runtime.stepping import run_sync

BASH = '!tool bash {"command": "echo hello", "description": "greets"}'
LONG = "!slow 0.05\n!say one two three four five six"
DATABASES = pytest.mark.parametrize("database", sample(["postgres", "sqlite"], "sqlite"))


@pytest.fixture
def urls(request, tmp_path):
    params = getattr(request.node, "callspec", None)
    database = params.params.get("database", "sqlite") if params else "sqlite"
    return urls_of(request, tmp_path, database)


@pytest.fixture
def rows(server, urls):
    """Nothing of ours is left at the end, neither threads nor connections."""
    before = threading.enumerate()
    with Rows(server, urls[0]) as rows:
        rows.threads_before = before
        yield rows
        assert open_connections(rows.engine) == 0
    deadline = time.monotonic() + PATIENCE
    while own_threads(before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert own_threads(before) == []


@DATABASES
def test_a_message_is_answered_once_it_is_committed_and_not_if_that_is_rolled_back(rows, database):
    record = rows.conversation()
    with rows.host() as host:
        with rows.sessions() as db:
            db.add(taken_back := Prompt(prompt="no", conversation_id=record))
            host.enqueue(taken_back)
            db.rollback()
        message = rows.send(host, "hello", record)
        assert (rows.ended(message).status, rows.told) == ("completed", [])
    with pytest.raises(ConfigurationError, match="not started"):
        rows.send(host, "hello")


def test_what_cannot_be_enqueued_is_refused(rows, urls):
    host = rows.host()
    with host, rows.sessions() as db:
        for message, said in (
            (Answer(prompt="x"), "no model of this host's"),
            (Prompt(prompt="x"), "belongs to no record"),
        ):
            db.add(message)
            with pytest.raises(ConfigurationError, match=said):
                host.enqueue(message)
            db.rollback()
        with pytest.raises(ConfigurationError, match="attached to no ORM session"):
            host.enqueue(Prompt(prompt="x"))
        async_rows = AsyncRows(rows._server, urls[1])
        with pytest.raises(ConfigurationError, match="must be made with an Engine"):
            Host(rows.settings(), [async_rows.table()])
        session = async_rows.sessions()
        session.add(message := Prompt(prompt="x"))
        with pytest.raises(ConfigurationError, match="attached to an AsyncSession"):
            host.enqueue(message)


@DATABASES
def test_turns_that_run_or_begin_when_the_host_ends_are_left_to_another(rows, held, database, monkeypatch):
    for module in ("host.hosts", "jobs.thread_pool"):  # a thread that ends takes its time on a busy machine
        monkeypatch.setattr(f"opencode_sessions.{module}.SHUTDOWN_TIMEOUT", 40)
    record = rows.conversation()
    with rows.host() as host:
        running = rows.send(host, LONG, record)
        behind = rows.send(host, "hello", record)
        rows.until(running, lambda row: "four" in row.content)
        began = time.monotonic()
    assert time.monotonic() - began < 50  # the model is held for longer, and so is a lease
    assert own_threads(rows.threads_before) == []
    sent = []
    for _ in range(3):
        with rows.host(recover=False) as host:
            sent += [rows.send(host, f"hello {number}") for number in range(2)]
    with rows.host():
        held.set()
        assert rows.ended(running).content.strip() == "one two three four five six"
        assert {rows.ended(message).status for message in (behind, *sent)} == {"completed"}
    assert rows.told == []


def test_a_turn_that_is_found_while_the_pool_stops_is_released(rows):
    with rows.host(recover=False) as host:
        pool, found, abandoned = ThreadPool(host, 1), threading.Event(), host.table.abandoned
        message = rows.add("hello", opencode_turn_lease=datetime(2020, 1, 1, tzinfo=UTC))

        async def slow(**options):
            jobs = await abandoned(**options)
            found.set()
            assert pool._stopping.wait(PATIENCE)
            return jobs

        host.table.abandoned = slow
        pool.start()
        assert found.wait(PATIENCE)
        pool.stop()
        assert [job.pk for job in run_sync(abandoned(reserve_for=60))] == [str(message.id)]
        pool.join(PATIENCE)


def test_a_host_starts_again_but_not_twice_at_once(rows):
    host = rows.host()
    for _ in range(2):
        with host:
            with pytest.raises(ConfigurationError, match="is started already"):
                host.__enter__()
            assert rows.ended(rows.send(host, "hello")).status == "completed"
        host.__exit__(None, None, None)


def test_a_host_without_free_threads_runs_what_waits_later(rows):
    with rows.host(turns=1) as host:
        asks = rows.send(host, BASH)
        sent = [rows.send(host, f"hello {number}") for number in range(3)]
        assert {rows.ended(message).status for message in sent} == {"completed"}
        row = rows.until(asks, lambda row: row.opencode_turn_parked)
        with pytest.raises(Refused, match="for always"):
            host.answer(row, row.asks[0]["id"], AskAnswer.always())
        host.answer(row, row.asks[0]["id"], AskAnswer.once())
        assert rows.ended(asks).status == "completed"
    assert rows.told == []


def test_threads_may_enqueue_cancel_and_retry_at_once(rows, held):
    record = rows.conversation()
    with rows.host() as host:
        message = rows.send(host, LONG, record)
        row = rows.until(message, lambda row: "four" in row.content)
        done = at_once(lambda: host.cancel(row, by="ada"), 4)
        assert sorted(done) == [False, False, False, True]
        held.set()
        again = at_once(lambda: host.retry(rows.row(message)).id, 4)
        assert len(set(again)) == 1
        assert rows.ended(again[0]).content.strip() == "one two three four five six"
        with pytest.raises(Refused, match="it is completed"):
            host.retry(rows.row(again[0]))
    assert rows.told == []


def at_once(call, times):
    results = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(results) == times
    return results


class Queue:
    """A queue of the host's own."""

    pending_lease = 60.0

    def __init__(self):
        self.jobs = []

    def dispatch(self, job):
        self.jobs.append(job)


def test_a_dispatcher_of_the_hosts_own_carries_jobs_to_its_worker(rows):
    queue = Queue()
    with pytest.raises(ConfigurationError, match="not started"):
        rows.send(rows.host(dispatcher=queue), "hello")
    with rows.host(dispatcher=queue) as host:
        asks = rows.send(host, BASH)
        assert run_job(host, queue.jobs.pop()) is None
        row = rows.until(asks, lambda row: row.opencode_turn_parked)
        host.answer(row, row.asks[0]["id"], AskAnswer.reject("no, greet yourself"))
        assert run_job(host, queue.jobs.pop()).status == "completed"


class BrokenQueue:
    """One that is away."""

    pending_lease = 60.0

    def dispatch(self, job):
        raise OSError("the broker is away")


def test_a_dispatcher_that_fails_leaves_the_turn_to_others_and_the_commit_stands(rows):
    with rows.host(dispatcher=BrokenQueue()) as host:
        message = rows.send(host, "hello")
        assert [action for action, _ in rows.told] == ["enqueue"]
    with rows.host():
        assert rows.ended(message).status == "completed"


SCRIPT = """
import sys, time
from host_rows import Rows
from types import SimpleNamespace
url, server, password, pk = sys.argv[1:]
rows = Rows(SimpleNamespace(url=server, password=password), url)
with rows.host() as host:
    message = rows.send(host, {prompt!r})
    rows.until(message, lambda row: "four" in row.content)
    print(message.id, flush=True)
    time.sleep(100)
"""


def test_a_script_that_is_told_to_end_releases_its_turns(rows, urls, server, held):
    arguments = [sys.executable, "-c", SCRIPT.format(prompt=LONG), urls[0], server.url, server.password, ""]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environ) as process:
        message = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGTERM
    with rows.host():
        held.set()
        assert rows.ended(message).content.strip() == "one two three four five six"


def test_the_rules_hold_that_the_settings_say(rows):
    with rows.host(permissions_for=lambda record: RULES):
        with pytest.raises(ConfigurationError, match="other settings is started in this process for"):
            rows.host().__enter__()
