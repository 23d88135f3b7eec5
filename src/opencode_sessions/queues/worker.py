"""`Worker`: what a queue's tasks do, whatever queue it is."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost
from opencode_sessions.jobs.dispatch import JobRun, dispatch_abandoned
from opencode_sessions.jobs.ports import QueueHost
from opencode_sessions.jobs.thread_pool import SHUTDOWN_TIMEOUT
from opencode_sessions.runtime.shutdown import install_handlers, on_signal
from opencode_sessions.runtime.stepping import blocking_sleep, run_sync
from opencode_sessions.runtime.tasks import in_own_thread
from opencode_sessions.store.turn_table import TurnJob

__all__ = ["PENDING_LEASE", "RECOVER", "RECOVER_EVERY", "RUN", "HostOf", "Worker", "needs"]

_log = logging.getLogger("opencode_sessions.queues")

_LOOK = 0.05

RUN = "opencode_sessions.run_turn"
RECOVER = "opencode_sessions.recover"

PENDING_LEASE = 600.0
"""For how many seconds a job is believed to be in the queue. A turn that waits longer is sent again, and run once."""
RECOVER_EVERY = 15
"""Seconds between two looks for turns that nobody runs any more."""

HostOf = QueueHost | Callable[[], QueueHost]


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Inside, what is imported comes with an extra of this package.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to do that.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install 'opencode-sessions[{extra}]'", name=error.name
        ) from error


class Worker:
    """Runs the jobs that a queue delivers. The first job starts a host that is not started in the worker's process.

    A worker that is told to end does not wait for its turns, which can take an hour. It releases them, and recovery
    sends them to another one.

    Args:
        host: The host of the worker's process, or a function that returns it.
    """

    def __init__(self, host: HostOf) -> None:
        self._host = host
        self._running: set[JobRun] = set()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # of the loop

    @property
    def host(self) -> QueueHost:
        """The host."""
        return self._host() if callable(self._host) else self._host

    def run(self, fields: Mapping[str, str]) -> None:
        """Run a turn; see `run_job`.

        Raises:
            ConfigurationError: The job is of a newer release, or the host cannot be started here. The row is as it was.
        """
        run_sync(self._run(self._blocking(), fields, blocking_sleep))

    async def arun(self, fields: Mapping[str, str]) -> None:
        """The same for asyncio. A host that blocks runs the turn in a thread of its own.

        If SIGTERM or SIGINT comes to the main thread afterwards, the worker stops before its queue does.
        """
        host = self.host
        if self._loop is None:
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
            self.stop_at_signals()
        if isinstance(host, AsyncHost):
            await self._run(host, fields, asyncio.sleep)
        else:
            await self._apart(host, partial(self.run, fields))

    async def _run(
        self, host: QueueHost, fields: Mapping[str, str], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        run = JobRun(host, TurnJob.from_fields(fields))
        self._running.add(run)
        try:
            if self._stopping:  # looked at after it is known: `stop` has released it, or it is released here
                await run.release()
            else:
                await run.run(sleep)
        finally:
            self._running.discard(run)

    def stop_at_signals(self) -> None:
        """Have the worker stop when its process is told to end. It is called in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, self._signalled)
        install_handlers()

    def _signalled(self) -> None:
        if self._thread == threading.get_ident():
            self._do(self.astop())  # when this thread comes back to its loop
        elif self._loop is not None and isinstance(self.host, AsyncHost):
            with suppress(TimeoutError):
                self._do(self.astop()).result(2 * SHUTDOWN_TIMEOUT)
        else:
            self.stop()

    def _do(self, stop: Coroutine[Any, Any, None]) -> Future[None]:
        assert self._loop is not None  # noqa: S101 - for the type checker
        return asyncio.run_coroutine_threadsafe(stop, self._loop)

    def stop(self) -> None:
        """Begin no turn any more, and release those that run, in other threads; 5 s at most, unless the database waits.

        A host that blocks stops when its process ends.
        """
        run_sync(self._stop(blocking_sleep))

    async def astop(self) -> None:
        """The same for asyncio. Its host is stopped, if it was started."""
        await self._stop(asyncio.sleep)
        host = self.host
        if isinstance(host, AsyncHost):
            await host.__aexit__(None, None, None)

    async def _stop(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._stopping = True
        for run in list(self._running):
            try:
                await run.release()
            except Exception as error:  # noqa: BLE001 - the lease then runs out by itself
                _log.warning("a turn could not be released to others at once: %s", error)
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT
        while self._running and time.monotonic() < deadline:
            await sleep(_LOOK)

    def recover(self) -> None:
        """Send the turns that nobody runs any more to the queue again; see `dispatch_abandoned`."""
        run_sync(dispatch_abandoned(self._blocking()))

    async def arecover(self) -> None:
        """The same for asyncio."""
        host = self.host
        if isinstance(host, AsyncHost):
            await dispatch_abandoned(host)
        else:
            await self._apart(host, self.recover)

    async def _apart(self, host: QueueHost, work: Callable[[], None]) -> None:
        """Do the work of a host that blocks in a thread of its own: long turns would fill the loop's own threads."""

        def main() -> None:
            try:
                work()
            finally:
                host.table.give_back()  # the thread ends, and with it nobody could use its connections

        await in_own_thread(main)

    def _blocking(self) -> QueueHost:
        host = self.host
        if isinstance(host, AsyncHost):
            raise ConfigurationError(
                "the workers of this queue have no event loop: give its dispatcher a Host over sync engines. The "
                "process that enqueues may still have an AsyncHost"
            )
        return host
