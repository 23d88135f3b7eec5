"""`SendThreads`: the threads in which an event loop sends jobs to a queue whose client blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

from opencode_sessions.runtime.forks import renew_in_children
from opencode_sessions.store.turn_table import TurnJob

__all__ = ["SendThreads"]

_MOST = 4


class SendThreads:
    """A few threads that only send jobs, so a broker that hangs holds up no other work of the process.

    The threads are kept, because the clients of some brokers keep a connection for each thread.

    Args:
        dispatch: Sends a job, and blocks meanwhile.
    """

    def __init__(self, dispatch: Callable[[TurnJob], None]) -> None:
        self._dispatch = dispatch
        self._renew()
        renew_in_children(self, SendThreads._renew)

    def _renew(self) -> None:
        self._threads = ThreadPoolExecutor(_MOST, thread_name_prefix="opencode-sessions send")

    async def send(self, job: TurnJob) -> None:
        """Send a job within the caller's context, which may name its trace."""
        work = partial(copy_context().run, self._dispatch, job)
        await asyncio.get_running_loop().run_in_executor(self._threads, work)
