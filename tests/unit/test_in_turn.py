"""Callers of one process that wait for the one that came first: threads, and tasks."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.runtime.threads import Threads


async def enter(runtime, key, seen, letter, *, until=None):
    async with runtime.in_turn(key):
        seen.append(letter)
        if until is not None:
            await until()
    seen.append(letter.upper())


def in_thread(main):
    thread = threading.Thread(target=lambda: run_sync(main), daemon=True)
    thread.start()
    return thread


def wait_for(check):
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Blocking:
    """A block that a thread stays in until it is let go."""

    def __init__(self):
        self.release = threading.Event()

    async def __call__(self):
        self.release.wait(30)


def test_threads_enter_after_the_first_has_left():
    runtime, seen, stay = Threads(), [], Blocking()
    first = in_thread(enter(runtime, "a:1", seen, "a", until=stay))
    wait_for(lambda: seen == ["a"])
    others = [in_thread(enter(runtime, "a:1", seen, letter)) for letter in "bc"]
    in_thread(enter(runtime, "a:2", seen, "x")).join()  # of another key
    assert seen == ["a", "x", "X"]
    stay.release.set()
    for thread in (first, *others):
        thread.join()
    assert sorted(seen[3:]) == ["A", "B", "C", "b", "c"]
    assert runtime._first == {}


def test_tasks_enter_after_the_first_has_left():
    async def main():
        runtime, seen, stay = Tasks(), [], asyncio.Event()
        tasks = [asyncio.create_task(enter(runtime, "a:1", seen, "a", until=stay.wait))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(enter(runtime, "a:1", seen, letter)) for letter in "bc"]
        await enter(runtime, "a:2", seen, "x")
        assert seen == ["a", "x", "X"]
        stay.set()
        await asyncio.gather(*tasks)
        assert sorted(seen[3:]) == ["A", "B", "C", "b", "c"]
        assert runtime._first == {}

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
def test_a_first_task_that_does_not_get_through_lets_the_others_in(ends):
    async def main():
        runtime, seen, stay = Tasks(), [], asyncio.get_running_loop().create_future()
        first = asyncio.create_task(enter(runtime, "a:1", seen, "a", until=lambda: stay))
        await asyncio.sleep(0)
        second = asyncio.create_task(enter(runtime, "a:1", seen, "b"))
        await asyncio.sleep(0)
        if ends == "cancelled":
            first.cancel()
        else:
            stay.set_exception(ZeroDivisionError())
        assert isinstance(
            (await asyncio.gather(first, return_exceptions=True))[0],
            asyncio.CancelledError | ZeroDivisionError,
        )
        began = time.monotonic()
        await second
        assert time.monotonic() - began < 0.9
        assert seen == ["a", "b", "B"]

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_waits_leaves_the_others_waiting():
    async def main():
        runtime, seen, stay = Tasks(), [], asyncio.Event()
        first = asyncio.create_task(enter(runtime, "a:1", seen, "a", until=stay.wait))
        await asyncio.sleep(0)
        second, third = (asyncio.create_task(enter(runtime, "a:1", seen, letter)) for letter in "bc")
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0.05)
        assert (second.cancelled(), third.done(), seen) == (True, False, ["a"])
        stay.set()
        await asyncio.gather(first, third)

    asyncio.run(main())


@pytest.mark.parametrize("runtime", [Threads, Tasks])
def test_a_first_that_stays_is_waited_for_no_longer_than_a_second(runtime, monkeypatch):
    monkeypatch.setattr(f"{runtime.__module__}.LONGEST_TURN", 0.05)
    seen = []
    if runtime is Threads:
        threads, stay = Threads(), Blocking()
        in_thread(enter(threads, "a:1", seen, "a", until=stay))
        wait_for(lambda: seen)
        run_sync(enter(threads, "a:1", seen, "b"))
        stay.release.set()
    else:

        async def main():
            tasks = Tasks()
            first = asyncio.create_task(enter(tasks, "a:1", seen, "a", until=asyncio.Event().wait))
            await asyncio.sleep(0)
            await enter(tasks, "a:1", seen, "b")
            first.cancel()

        asyncio.run(main())
    assert seen[:3] == ["a", "b", "B"]


def test_a_forked_child_waits_for_nobody_of_its_parent():
    runtime, stay = Threads(), Blocking()
    seen = []
    in_thread(enter(runtime, "a:1", seen, "a", until=stay))
    wait_for(lambda: seen)
    child = os.fork()
    if child == 0:
        os._exit(len(runtime._first))
    stay.release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
