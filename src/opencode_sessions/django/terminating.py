"""SIGTERM: the turns that this process runs are left to others before it ends.

A server that ends by itself does that at exit. But many are ended by the signal: uvicorn raises it again after its own
shutdown, waitress and `runserver` leave it as it is, and then nothing is called at exit. So there is a handler, which
does what was done before, after that.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

__all__ = ["chain"]


def chain(stop: Callable[[], None]) -> None:
    """Have `stop` called when SIGTERM comes, before what happens now.

    Nothing is changed where the signal is ignored, or handled by what is not Python, or outside of the main thread.

    Args:
        stop: Does not raise. It is called in the main thread, in between of whatever that does.
    """
    before = signal.getsignal(signal.SIGTERM)
    if before in (None, signal.SIG_IGN) or isinstance(before, _Chained):
        return
    if threading.current_thread() is threading.main_thread():
        with suppress(ValueError):  # in a subinterpreter
            signal.signal(signal.SIGTERM, _Chained(stop, before))


class _Chained:
    def __init__(self, stop: Callable[[], None], before: Any) -> None:
        self._stop = stop
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._stop()
        if callable(self._before):
            self._before(number, frame)
        else:  # the default: to end, with the exit status that says why
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
