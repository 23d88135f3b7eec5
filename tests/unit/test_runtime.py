"""How the sync and the async API call what may block."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import time

import pytest

from opencode_sessions.errors import ServerUnreachableError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.runtime.threads import Threads

WAITS_FOR_EVER = """
import asyncio, threading
from opencode_sessions.runtime.tasks import Tasks

async def main():
    called = threading.Event()
    waiting = asyncio.create_task(Tasks().call(lambda: (called.set(), threading.Event().wait())))
    while not called.is_set():
        await asyncio.sleep(0.01)
    waiting.cancel()

asyncio.run(main())
print("ended")
"""


def test_with_threads_it_is_called_in_the_callers_own():
    assert run_sync(Threads().call(threading.current_thread)) is threading.current_thread()


def test_with_tasks_it_is_called_in_another_and_within_the_same_context():
    told = contextvars.ContextVar("told")
    told.set("by the caller")
    thread, said = asyncio.run(Tasks().call(lambda: (threading.current_thread(), told.get())))
    assert thread is not threading.current_thread()
    assert said == "by the caller"


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(ZeroDivisionError, ZeroDivisionError), (StopIteration, RuntimeError), (SystemExit, SystemExit)],
)
def test_with_tasks_what_it_raises_is_raised(raised, seen):
    def fail():
        raise raised

    async def main():
        with pytest.raises(seen):
            await Tasks().call(fail)

    asyncio.run(main())


def test_more_of_them_than_processors_wait_at_the_same_time():
    together = threading.Barrier(40)

    async def main():
        tasks = Tasks()
        await asyncio.gather(*(tasks.call(lambda: together.wait(30)) for _ in range(40)))

    asyncio.run(main())
    assert not together.broken


def test_a_process_ends_though_what_was_called_waits_for_ever():
    ended = subprocess.run(
        [sys.executable, "-c", WAITS_FOR_EVER], check=True, timeout=60, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("ended\n", "")


@pytest.fixture
def threads():
    """With what lets those end that wait for it."""
    threads = Threads()
    threads.end = threading.Event()
    yield threads
    threads.end.set()


def waiting(threads):
    """Something to spawn that waits, whoever is closed."""

    async def main():
        threads.end.wait(60)

    return main


def linger():
    """So long that a thread which nobody waits for is not at its end yet."""
    time.sleep(0.2)


def joining(threads, timeout):
    """The seconds that it takes."""
    began = time.monotonic()
    run_sync(threads.join(timeout))
    return time.monotonic() - began


def test_who_sleeps_is_woken_and_told_that_the_client_was_closed(threads):
    told = []

    async def main():
        try:
            await threads.sleep(60)
        except ServerUnreachableError as error:
            linger()
            told.append(str(error))

    threads.spawn(main, "sleeper", joined=True)
    assert joining(threads, 60) < 30
    assert told == ["the client was closed"]
    with pytest.raises(ServerUnreachableError):
        run_sync(threads.sleep(60))


def test_with_tasks_who_sleeps_is_told_so_too():
    async def main():
        tasks = Tasks()
        sleeping = asyncio.create_task(tasks.sleep(0.1))
        await asyncio.sleep(0)
        await tasks.join(60)
        with pytest.raises(ServerUnreachableError, match="the client was closed"):
            await sleeping

    asyncio.run(main())


def test_what_waits_for_a_person_is_not_waited_for(threads):
    for _ in range(8):
        threads.spawn(waiting(threads), "ask")
    assert joining(threads, 60) < 30


def test_who_is_to_be_joined_is_so_however_much_was_spawned_since(threads):
    ended = []

    async def reader():
        threads.end.wait(60)
        linger()
        ended.append("reader")

    async def probe():
        return

    threads.spawn(reader, "reader", joined=True)
    for _ in range(100):
        threads.spawn(probe, "probe", joined=True)
        threads.spawn(probe, "ask")
    threads.end.set()
    run_sync(threads.join(60))
    assert ended == ["reader"]


def test_all_that_does_not_end_is_waited_for_together(threads):
    for _ in range(100):
        threads.spawn(waiting(threads), "stuck", joined=True)
    assert joining(threads, 0.5) < 25  # rather than 50


def test_a_thread_that_cannot_be_started_is_not_waited_for(threads, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            threads.spawn(waiting(threads), "reader", joined=True)
    assert joining(threads, 60) < 30
