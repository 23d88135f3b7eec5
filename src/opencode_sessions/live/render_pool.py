"""`RenderPool`: the threads that render turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

__all__ = ["RenderPool"]

_THREADS = 8
"""Each turn is rendered a tenth of the time at most, so these suffice for many that take long."""

_Job: TypeAlias = Callable[[], object]


class RenderPool:
    """A few daemon threads.

    The interpreter shares the processor among them, so a turn that takes long to render delays neither other turns nor
    an event loop.

    Raises:
        RuntimeError: There can be no more threads.
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
        """Have it called. It does not raise."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End the threads, once they have nothing to do."""
        for _ in range(_THREADS):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
