"""`TaskPool`: runs jobs in tasks of one event loop, one at a time for a record, and recovers abandoned turns.

It is the `ThreadPool` of hosts that suspend.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.jobs.attempts import TurnAttempts
from opencode_sessions.jobs.left_behind import left_behind
from opencode_sessions.jobs.ports import JobHost
from opencode_sessions.jobs.schedule import Schedule
from opencode_sessions.jobs.thread_pool import SHUTDOWN_TIMEOUT
from opencode_sessions.store.messages import PENDING_LEASE
from opencode_sessions.store.turn_table import TurnJob

__all__ = ["TaskPool"]

_log = logging.getLogger("opencode_sessions.jobs")


class TaskPool:
    """A `Dispatcher` that runs jobs in tasks of the event loop in which it is started.

    Args:
        host: The host of the jobs. Its table and its turns suspend.
        turns: How many turns run at once. Those that wait for a person do not count.
        recover: Whether to look for abandoned turns.
        every: Seconds between two looks; fewer than `pending_lease`.
        ended: Called with the attempts at a job after its last attempt.
    """

    pending_lease: float = PENDING_LEASE

    def __init__(
        self,
        host: JobHost,
        turns: int = 100,
        *,
        recover: bool = True,
        every: float = 15.0,
        ended: Callable[[TurnAttempts], object] | None = None,
    ) -> None:
        self._host = host
        self._most = turns
        self._recover = recover
        self._every = every
        self._ended = ended
        self._schedule = Schedule(self._attempts)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._waiting = 0
        self._stopping = asyncio.Event()
        self._own: list[asyncio.Task[None]] = []
        self._turns: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing waits."""
        return self._schedule.idle

    def start(self) -> None:
        """From now on, run jobs, renew reservations and look for abandoned turns, in the running event loop."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._own = [
                self._loop.create_task(self._run(), name="opencode-sessions turns"),
                self._loop.create_task(self._keep(), name="opencode-sessions keeper"),
            ]

    async def look(self) -> None:
        """Look once for abandoned turns. Does nothing if the pool is stopping."""
        if not self._stopping.is_set():
            for job in await left_behind(self._host, reserve_for=self.pending_lease):
                self.dispatch(job)

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`. It may be called in any thread.

        Raises:
            ConfigurationError: The pool was not started, and did not accept the job.
        """
        if self._loop is None:
            raise ConfigurationError(
                f"the turn of {job} is left to others: the pool of this process was not started"
            )
        self._loop.call_soon_threadsafe(self._add, job)

    async def stop(self) -> None:
        """Start no more turns, release all that run or wait, and wait for the running ones, for at most 5 s.

        Tasks are cancelled only after that. If a look were cancelled, no process would have the turns that it reserved.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        known = self._schedule.all()
        self._do(self._leave([attempts.job for attempts in known], known))
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT
        while (tasks := {*self._own, *self._turns}) and (left := deadline - time.monotonic()) > 0:
            ended, _ = await asyncio.wait(tasks, timeout=left)
            self._own = [task for task in self._own if task not in ended]
            self._turns -= ended
        for task in self._own:
            task.cancel()

    async def _leave(self, jobs: list[TurnJob], attempts: Collection[TurnAttempts] = ()) -> None:
        """Release the turns all at once, as each may wait for a write that is on its way."""
        done = await asyncio.gather(*(each.release() for each in attempts), return_exceptions=True)
        try:
            await self._host.table.release(jobs)
        except Exception as error:  # noqa: BLE001 - the leases then expire by themselves
            done.append(error)
        for failed in filter(None, done):
            _log.warning("turns could not be released to others at once: %s", failed)

    def _add(self, job: TurnJob) -> None:
        if self._stopping.is_set():  # requests may still be served
            self._do(self._leave([job]))
        else:
            self._schedule.add(job, time.monotonic())
            self._wake.set()

    def _do(self, coroutine: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)

    def _attempts(self, job: TurnJob) -> TurnAttempts:
        return TurnAttempts(self._host, job, when_busy="reject", waits_changed=self._waits_changed)

    def _waits_changed(self, more: int) -> None:
        self._waiting += more
        self._wake.set()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            now = time.monotonic()
            while len(self._turns) - self._waiting < self._most:
                attempts = self._schedule.next(now)
                if attempts is None:
                    break
                self._do(self._attempt(attempts), f"opencode-sessions {attempts.job}")
            due = self._schedule.next_at() if len(self._turns) - self._waiting < self._most else None
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(due - now, 0.0)):
                    await self._wake.wait()

    async def _attempt(self, attempts: TurnAttempts) -> None:
        pause: float | None = None
        try:
            pause = await attempts.attempt()
            if pause is None and self._ended is not None:
                self._ended(attempts)
        except Exception:  # noqa: BLE001 - a record whose attempt never ends would stay locked
            _log.exception("the turn of %s cannot be run", attempts.job)
        finally:
            self._schedule.over(attempts, pause, time.monotonic())
            if (task := asyncio.current_task()) is not None:
                self._turns.discard(task)  # before the next turn checks whether there is room
            self._wake.set()

    async def _keep(self) -> None:
        """Renew the reservations of turns that wait, and look for abandoned turns."""
        while not self._stopping.is_set():
            await self._try(self._renew(), "turns that wait here cannot be reserved")
            if self._recover:
                await self._try(self.look(), "turns that were left behind cannot be looked for")
            await self._try(self._host.count(), "turns cannot be counted")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._stopping.wait()

    async def _renew(self) -> None:
        await self._host.table.renew(self._schedule.jobs, self.pending_lease)

    async def _try(self, work: Coroutine[Any, Any, None], problem: str) -> None:
        """Do the work, and log its error: the next time it may succeed."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - this loop must go on for all turns of the process
            if self._host.table.is_transient(error):
                _log.warning("%s now: %s", problem, error)
            else:
                _log.exception("%s", problem)
