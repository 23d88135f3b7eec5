"""Signals that ask a process to end: first its streams end and its turns are released, then the process ends.

`atexit` is not enough: uvicorn raises the signal again after its own shutdown, and waitress and `runserver` do not
handle the signal, so nothing is called at exit. And uvicorn and gunicorn wait for open streams, so the streams must end
first. Therefore our handler runs before the server's.

A server installs its handlers when it starts, before or after the app is set up. So `install_handlers` is called again
when a stream begins.
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
    """Call `stop` when this signal comes, once `install_handlers` was called.

    Args:
        number: The signal.
        stop: A function that does not raise. It interrupts the main thread. The last one added is called first.

    Returns:
        A function that removes it.
    """
    stops = _stops.setdefault(number, [])
    if stop not in stops:
        stops.insert(0, stop)

    def take_back() -> None:
        with suppress(ValueError):
            stops.remove(stop)

    return take_back


def install_handlers() -> None:
    """Put our handler before the present one, unless that was done already.

    Nothing changes if the signal is ignored, if its handler is not Python's, or outside of the main thread. Nor if
    Ctrl-C raises KeyboardInterrupt, because that ends no server that waits for streams.
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
        else:  # the default: end with the exit status of the signal
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
