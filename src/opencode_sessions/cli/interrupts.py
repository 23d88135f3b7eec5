"""Work that Ctrl-C asks to stop, rather than breaks off."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["run_stoppable"]

T = TypeVar("T")

_STOP_AGAIN = 1.0


def run_stoppable(work: Callable[[], T], stop: Callable[[int], None]) -> T:
    """Run `work` in a thread of its own, and return or raise what it does.

    At the first KeyboardInterrupt `stop(1)` is called, which is to make `work` end soon; `stop(2)` follows
    after a second if that has not happened, and so on, since a call may have come too early for it.

    Raises:
        KeyboardInterrupt: At the second one; `work` is left alone, in a daemon thread.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is awaited
            future.set_exception(error)

    try:
        threading.Thread(target=run, name="turn", daemon=True).start()
        return future.result()
    except KeyboardInterrupt:
        pass
    for attempt in itertools.count(1):
        stop(attempt)
        try:
            return future.result(_STOP_AGAIN)
        except TimeoutError:
            if future.done():  # the work's own
                raise
    raise AssertionError  # the count has no end
