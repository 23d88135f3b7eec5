"""`ThreadRunner`: turns in threads of this process, one at a time for a record, and those that others left behind.

A turn that waits is a row that says so (see `undertake`), kept fresh while this process lives. One that runs has
its lease. So whatever dies, another process finds what is left, at its next look.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import connections

from opencode_sessions.django.clients import leave_open
from opencode_sessions.django.efforts import PROMISE, Effort
from opencode_sessions.django.jobs import Job, give_up, keep
from opencode_sessions.django.sweeping import sweep

__all__ = ["LEAVING", "ThreadRunner"]

_log = logging.getLogger("opencode_sessions.django")

LEAVING = 5.0
"""For how many seconds a process that ends waits, at most, until its turns are left to others."""


class ThreadRunner:
    """Runs turns in daemon threads, which start when they are needed.

    Args:
        threads: How many at most.
        recover: Whether to look for turns that were left behind.
        every: Seconds between two looks; fewer than `promise`.
        told: Called with each effort that has ended.

    Attributes:
        threads: Those that run turns.
    """

    promise: float = PROMISE

    def __init__(
        self,
        threads: int = 8,
        *,
        recover: bool = True,
        every: float = 15.0,
        told: Callable[[Effort], None] | None = None,
    ) -> None:
        self._most = threads
        self._recover = recover
        self._every = every
        self._told = told
        self._wake = threading.Condition()
        self._lanes: dict[str, deque[Effort]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._known: set[Job] = set()
        self._again: set[Job] = set()  # submitted while a try of them was on its way
        self._numbers = itertools.count()
        self._idle = self._waiting = 0
        self.threads: list[threading.Thread] = []
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()
        self._stopped = threading.Event()

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing waits."""
        return not self._known

    def start(self) -> None:
        """Keep what waits, and look for what was left behind, from now on. Does nothing if it does already.

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
        """Look once, here and now, for what was left behind."""
        for job in sweep(self.promise):
            self.submit(job)

    def submit(self, job: Job) -> None:
        """See `Runner.submit`.

        Raises:
            RuntimeError: No thread can be started, and none is there. The turn is not known here then.
        """
        self.start()
        with self._wake:
            if job in self._known:
                self._again.add(job)  # it may be parked in this instant
                return
            stopping = self._stopping.is_set()
            if not stopping:
                self._put_last(job)
        if stopping:  # and requests are still being served
            give_up([job])

    def stop(self) -> None:
        """Begin nothing more, and leave what runs or waits to others, at once. What runs is not waited for.

        Where another thread does that already, it is waited for, for 5 s at most.
        """
        with self._wake:
            first = not self._stopping.is_set()
            self._stopping.set()
            efforts = [effort for lane in self._lanes.values() for effort in lane]
            self._wake.notify_all()
        if first:
            try:
                self._leave(efforts)
            finally:
                self._stopped.set()
        else:
            self._stopped.wait(LEAVING)

    def _leave(self, efforts: list[Effort]) -> None:
        if efforts:
            leave_open()
        for effort in efforts:
            try:
                effort.let_go()
                give_up([effort.job])
            except Exception as error:  # noqa: BLE001 - the lease then runs out by itself
                _log.warning("%s could not be left to others at once: %s", effort.job, error)

    def _effort(self, job: Job) -> Effort:
        return Effort(job, when_busy="reject", stirred=self._stirred)

    def _schedule(self, lane: str, pause: float) -> None:
        """Let the first of a lane be run after so many seconds. Called under the lock."""
        heapq.heappush(self._due, (time.monotonic() + pause, next(self._numbers), lane))
        self._wake.notify()

    def _stirred(self, more: int) -> None:
        """A turn waits for a person now, or does no more: meanwhile its thread is not one of `threads`."""
        with self._wake:
            self._waiting += more
            self._hire()

    def _hire(self, more: int = 0) -> bool:
        """Start a thread if one is needed for what is due, and so many more, and may be started.

        Called under the lock.

        Returns:
            False if no thread is there that could ever do it.
        """
        if len(self._due) + more > self._idle and self._at_work < self._most:
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
        """The threads that count: those whose turns wait for people do not."""
        return len(self.threads) - self._waiting

    def _work(self) -> None:
        while (effort := self._next()) is not None:
            pause: float | None = None
            try:
                pause = effort.attempt()
                if pause is None and self._told is not None:
                    self._told(effort)
            except Exception:  # noqa: BLE001 - a thread that ended by it would leave its lane locked
                _log.exception("the turn of %s cannot be run", effort.job)
            finally:
                connections.close_all()
            with self._wake:
                self._over(effort, pause)

    def _next(self) -> Effort | None:
        """The next one, when it is due; None when this runner stops, or has a thread too many."""
        with self._wake:
            while not self._stopping.is_set():
                if self._at_work > self._most:  # people have answered, whose turns others stood in for
                    self.threads.remove(threading.current_thread())
                    self._wake.notify()  # this thread may have been the one that was woken
                    return None
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    _, _, lane = heapq.heappop(self._due)
                    self._again.discard(self._lanes[lane][0].job)
                    return self._lanes[lane][0]
                self._idle += 1
                self._wake.wait(wait)
                self._idle -= 1
        return None

    def _over(self, effort: Effort, pause: float | None) -> None:
        """Make way for the next of its lane, or try it again, after what comes first."""
        lane = effort.job.lane
        if pause is None and effort.job in self._again:
            pause = 0.0
        if pause is not None:
            if effort.first is not None:
                self._put_first(effort.first)
            self._schedule(lane, pause)
            return
        self._known.discard(effort.job)
        self._lanes[lane].popleft()
        if self._lanes[lane]:
            self._schedule(lane, 0.0)
        else:
            del self._lanes[lane]

    def _put_last(self, job: Job) -> None:
        """Into its lane. Called under the lock."""
        if job.lane not in self._lanes:
            if not self._hire(1):
                raise RuntimeError(f"the turn of {job} is left to others: no thread can be started for it")
            self._schedule(job.lane, 0.0)
        self._known.add(job)
        self._lanes.setdefault(job.lane, deque()).append(self._effort(job))

    def _put_first(self, job: Job) -> None:
        """To the head of its lane, in which it may be already."""
        lane = self._lanes[job.lane]
        effort = next((each for each in lane if each.job == job), None)
        if effort is None:
            self._known.add(job)
            effort = self._effort(job)
        else:
            lane.remove(effort)
        lane.appendleft(effort)

    def _keep(self) -> None:
        """Keep what waits from being taken for abandoned, and look for what is."""
        while not self._stopping.is_set():
            try:
                self._renew()
                if self._recover:
                    self.look()
            except DatabaseError as error:
                _log.warning("turns that were left behind cannot be looked for now: %s", error)
            except Exception:  # noqa: BLE001 - the next look may do better
                _log.exception("turns that were left behind cannot be looked for")
            finally:
                connections.close_all()
            self._stopping.wait(self._every)

    def _renew(self) -> None:
        with self._wake:
            self._hire()  # where no thread could be started before
            waiting = list(self._known)
        keep(waiting, self.promise)
