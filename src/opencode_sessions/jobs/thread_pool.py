"""`ThreadPool`: runs jobs in threads of this process, one at a time for a record, and recovers abandoned turns.

A turn that waits has a reservation in its row (see `TurnTable.reserve`), which this process renews. A turn that runs
has a lease. So if this process dies, another one finds its turns at the next look.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from opencode_sessions.jobs.attempts import TurnAttempts
from opencode_sessions.jobs.left_behind import left_behind
from opencode_sessions.jobs.ports import JobHost
from opencode_sessions.jobs.schedule import Schedule
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.messages import PENDING_LEASE
from opencode_sessions.store.turn_table import TurnJob

__all__ = ["SHUTDOWN_TIMEOUT", "ThreadPool"]

_log = logging.getLogger("opencode_sessions.jobs")

SHUTDOWN_TIMEOUT = 5.0
"""Seconds for which a process that ends waits for the release of its turns, at most."""


class ThreadPool:
    """A `Dispatcher` that runs jobs in daemon threads, which start when they are needed.

    Args:
        host: The host of the jobs. Its table and its turns block.
        threads: The greatest number of threads.
        recover: Whether to look for abandoned turns.
        every: Seconds between two looks; fewer than `pending_lease`.
        ended: Called with the attempts at a job after its last attempt.
        stopping: Called when the pool stops while turns run, before they are released.

    Attributes:
        threads: The threads that run turns.
    """

    pending_lease: float = PENDING_LEASE

    def __init__(
        self,
        host: JobHost,
        threads: int = 8,
        *,
        recover: bool = True,
        every: float = 15.0,
        ended: Callable[[TurnAttempts], object] | None = None,
        stopping: Callable[[], object] = lambda: None,
    ) -> None:
        self._host = host
        self._most = threads
        self._recover = recover
        self._every = every
        self._ended = ended
        self._on_stop = stopping
        self._wake = threading.Condition()
        self._schedule = Schedule(self._attempts)
        self._idle = self._waiting = 0
        self.threads: list[threading.Thread] = []
        self._keeper: threading.Thread | None = None
        self._looking = threading.RLock()  # held until the turns that a look has reserved are scheduled
        self._stopping = threading.Event()
        self._stopped = threading.Event()

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing waits."""
        return self._schedule.idle

    def start(self) -> None:
        """From now on, renew reservations and look for abandoned turns. Does nothing if it was started before.

        Raises:
            RuntimeError: No thread can be started.
        """
        if self._keeper is None:
            with self._wake:
                if self._keeper is None and not self._stopping.is_set():
                    keeper = threading.Thread(target=self._keep, name="opencode-sessions keeper", daemon=True)
                    keeper.start()
                    self._keeper = keeper

    def look(self) -> None:
        """Look once for abandoned turns, in this thread. Does nothing if the pool is stopping."""
        with self._looking:
            if not self._stopping.is_set():
                for job in run_sync(left_behind(self._host, reserve_for=self.pending_lease)):
                    self.dispatch(job)

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`.

        Raises:
            RuntimeError: No thread can be started, and none exists. The pool did not accept the job.
        """
        self.start()
        with self._wake:
            stopping = self._stopping.is_set()
            if not stopping:
                if self._schedule.begins(job) and not self._hire(1):
                    raise RuntimeError(
                        f"the turn of {job} is left to others: no thread can be started for it"
                    )
                self._schedule.add(job, time.monotonic())
                self._wake.notify()
        if stopping:  # requests may still be served
            run_sync(self._host.table.release([job]))

    def stop(self) -> None:
        """Start no more turns, and release all that run or wait, without waiting for their end.

        If another thread is stopping the pool, wait for it, for at most 5 s.
        """
        with self._wake:
            first = not self._stopping.is_set()
            self._stopping.set()
            known = self._schedule.all()
            self._wake.notify_all()
        if first:
            try:
                self._release(known)
            finally:
                self._stopped.set()
        else:
            self._stopped.wait(SHUTDOWN_TIMEOUT)

    def join(self, timeout: float) -> None:
        """After `stop`: wait until the threads have ended, for at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._wake:
            threads = [thread for thread in (self._keeper, *self.threads) if thread is not None]
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _release(self, known: list[TurnAttempts]) -> None:
        if known:
            self._on_stop()
        # A look in progress releases the turns that it finds, unless the process ends before.
        if self._looking.acquire(timeout=SHUTDOWN_TIMEOUT):
            self._looking.release()
        for attempts in known:
            try:
                run_sync(attempts.release())
                run_sync(self._host.table.release([attempts.job]))
            except Exception as error:  # noqa: BLE001 - the lease then expires by itself
                _log.warning("%s could not be released to others at once: %s", attempts.job, error)

    def _attempts(self, job: TurnJob) -> TurnAttempts:
        return TurnAttempts(self._host, job, when_busy="reject", waits_changed=self._waits_changed)

    def _waits_changed(self, more: int) -> None:
        """Note that a turn began or ended to wait for a person. While it waits, its thread does not count."""
        with self._wake:
            self._waiting += more
            self._hire()

    def _hire(self, more: int = 0) -> bool:
        """Start a thread if the due jobs, and `more` others, need one, and the limit allows it.

        Called under the lock.

        Returns:
            False if there is no thread at all.
        """
        if self._schedule.waiting + more > self._idle and self._at_work < self._most:
            name = f"opencode-sessions turns {len(self.threads) + 1}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                _log.warning("turns that are due need another thread, and none can be started: %s", error)
            else:
                self.threads.append(thread)
        return self._at_work > 0

    @property
    def _at_work(self) -> int:
        """The number of threads, without those whose turns wait for people."""
        return len(self.threads) - self._waiting

    def _work(self) -> None:
        while (attempts := self._next()) is not None:
            pause: float | None = None
            try:
                pause = run_sync(attempts.attempt())
                if pause is None and self._ended is not None:
                    self._ended(attempts)
            except Exception:  # noqa: BLE001 - if the thread ended here, its record would stay locked
                _log.exception("the turn of %s cannot be run", attempts.job)
            finally:
                self._host.table.give_back()
            with self._wake:
                self._schedule.over(attempts, pause, time.monotonic())
                self._wake.notify()

    def _next(self) -> TurnAttempts | None:
        """The next attempts, when they are due; None if the pool stops, or has one thread too many."""
        with self._wake:
            while not self._stopping.is_set():
                if self._at_work > self._most:  # turns that waited for people, and did not count, go on
                    self.threads.remove(threading.current_thread())
                    self._wake.notify()  # this thread may have been the one that was woken
                    return None
                now = time.monotonic()
                attempts = self._schedule.next(now)
                if attempts is not None:
                    return attempts
                due = self._schedule.next_at()
                self._idle += 1
                self._wake.wait(None if due is None else due - now)
                self._idle -= 1
        return None

    def _keep(self) -> None:
        """Keep what waits from being taken for abandoned, and look for what is."""
        while not self._stopping.is_set():
            self._try(self._renew, "turns that wait here cannot be reserved")
            if self._recover:
                self._try(self.look, "turns that were left behind cannot be looked for")
            self._try(lambda: run_sync(self._host.count()), "turns cannot be counted")
            self._host.table.give_back()
            self._stopping.wait(self._every)

    def _try(self, work: Callable[[], None], problem: str) -> None:
        """Do the work, and log its error: the next time it may succeed."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - this loop must go on for all turns of the process
            if self._host.table.is_transient(error):
                _log.warning("%s now: %s", problem, error)
            else:
                _log.exception("%s", problem)

    def _renew(self) -> None:
        with self._wake:
            self._hire()  # if no thread could be started before
            waiting = self._schedule.jobs
        run_sync(self._host.table.renew(waiting, self.pending_lease))
