"""`RenderPool`: the threads that render turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

__all__ = ["RenderPool"]

_THREADS = 8
"""The number of threads. A turn is rendered for at most a tenth of the time, so they suffice for many slow turns."""

_Job: TypeAlias = Callable[[], object]


class RenderPool:
    """A few daemon threads.

    The interpreter shares the processor among them, so a turn that takes long to render delays neither other turns nor
    an event loop.

    Raises:
        RuntimeError: No more threads can be started.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        try:
            for _ in range(_THREADS):
                threading.Thread(target=self._run, name="opencode-sessions render", daemon=True).start()
        except RuntimeError:
            self.stop()
            raise

    def put(self, job: _Job) -> None:
        """Call a job in a thread. The job must not raise."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End the threads once all jobs are done."""
        for _ in range(_THREADS):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
