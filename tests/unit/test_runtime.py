"""How the faces call what may block."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from opencode_sessions.faces import complete
from opencode_sessions.wire.runtime import Tasks, Threads

WAITS_FOR_EVER = """
import asyncio, threading
from opencode_sessions.wire.runtime import Tasks

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
    assert complete(Threads().call(threading.current_thread)) is threading.current_thread()


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
