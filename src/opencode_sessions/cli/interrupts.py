"""Work that Ctrl-C asks to stop, instead of interrupting it."""

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
    """Run `work` in a thread of its own, and return its result or raise its error.

    The first KeyboardInterrupt calls `stop(1)`, which should make `work` end soon. If `work` goes on for a second,
    `stop(2)` follows, and so on, because the first call may have come too early.

    Raises:
        KeyboardInterrupt: At the second one; `work` goes on in a daemon thread.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
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
            if future.done():  # the error of the work itself
                raise
    raise AssertionError  # the count has no end
