"""Signals that ask a process to end: its streams end, and the turns that it runs are left to others, before it does.

A server that ends by itself calls `atexit` functions. But uvicorn raises the signal again after its own shutdown,
waitress and `runserver` leave the signal as it is, and then nothing is called at exit. And uvicorn and gunicorn wait
for streams that are open, so these must end first. Therefore a handler runs before the one that is there.

Servers put their handlers in place when they start: before the app is set up, or after it. So `install_handlers` is
called again when a stream begins.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

__all__ = ["install_handlers", "on_signal"]

Stop = Callable[[], None]

_stops: dict[int, list[Stop]] = {}


def on_signal(number: int, stop: Stop) -> Stop:
    """Have `stop` called when this signal comes, once `install_handlers` was called.

    Args:
        number: Which signal.
        stop: Does not raise. It is called in the main thread, in between of whatever that does; the last one that was
            named is called first.

    Returns:
        What takes that back.
    """
    stops = _stops.setdefault(number, [])
    if stop not in stops:
        stops.insert(0, stop)

    def take_back() -> None:
        with suppress(ValueError):
            stops.remove(stop)

    return take_back


def install_handlers() -> None:
    """Put our handler before the one that is there, unless it is there already.

    Nothing is changed where the signal is ignored, or handled by what is not Python, or outside of the main thread;
    nor where Ctrl-C raises KeyboardInterrupt, as that ends no server that waits for streams.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number, stops in _stops.items():
        before = signal.getsignal(number)
        if before in (None, signal.SIG_IGN, signal.default_int_handler) or isinstance(before, _Chained):
            continue
        with suppress(ValueError):  # in a subinterpreter
            signal.signal(number, _Chained(stops, before))


class _Chained:
    def __init__(self, stops: list[Stop], before: Any) -> None:
        self._stops = stops
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        for stop in self._stops:
            stop()
        if callable(self._before):
            self._before(number, frame)
        else:  # the default: to end, with the exit status that says why
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
