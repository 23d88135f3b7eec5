"""`Worker`: what a queue's tasks do, whatever queue it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost
from opencode_sessions.jobs.dispatch import arun_job, dispatch_abandoned, run_job
from opencode_sessions.jobs.ports import QueueHost
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.turn_table import TurnJob

__all__ = ["PENDING_LEASE", "RECOVER", "RECOVER_EVERY", "RUN", "HostOf", "Worker", "needs"]

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

    Args:
        host: The host of the worker's process, or a function that returns it.
    """

    def __init__(self, host: HostOf) -> None:
        self._host = host

    @property
    def host(self) -> QueueHost:
        """The host."""
        return self._host() if callable(self._host) else self._host

    def run(self, fields: Mapping[str, str]) -> None:
        """Run a turn; see `run_job`.

        Raises:
            ConfigurationError: The job is of a newer release, or the host cannot be started here. The row is as it was.
        """
        run_job(self._blocking(), TurnJob.from_fields(fields))

    async def arun(self, fields: Mapping[str, str]) -> None:
        """The same for asyncio. A host that blocks runs the turn in a thread."""
        host = self.host
        if isinstance(host, AsyncHost):
            await arun_job(host, TurnJob.from_fields(fields))
        else:
            await asyncio.to_thread(self.run, fields)

    def recover(self) -> None:
        """Send the turns that nobody runs any more to the queue again; see `dispatch_abandoned`."""
        run_sync(dispatch_abandoned(self._blocking()))

    async def arecover(self) -> None:
        """The same for asyncio."""
        host = self.host
        if isinstance(host, AsyncHost):
            await dispatch_abandoned(host)
        else:
            await asyncio.to_thread(self.recover)

    async def aclose(self) -> None:
        """Stop a host of asyncio, if it was started. A host that blocks stops when its process ends."""
        host = self.host
        if isinstance(host, AsyncHost):
            await host.__aexit__(None, None, None)

    def _blocking(self) -> QueueHost:
        host = self.host
        if isinstance(host, AsyncHost):
            raise ConfigurationError(
                "the workers of this queue have no event loop: give its dispatcher a Host over sync engines. The "
                "process that enqueues may still have an AsyncHost"
            )
        return host
