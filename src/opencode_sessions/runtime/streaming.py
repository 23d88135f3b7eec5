"""Iterators over the values that a function in the background sends."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["astream", "stream"]

T = TypeVar("T")
Report = Callable[[Exception], object]


@dataclass(frozen=True, slots=True)
class _End(Generic[T]):
    """The end of the values: the last one, or the error that was raised."""

    last: T | None = None
    error: BaseException | None = None


def stream(
    run: Callable[[Callable[[T], object]], T], *, close: Callable[[], object], report: Report
) -> Generator[T]:
    """The values that `run` sends from a daemon thread, followed by the one that it returns.

    Args:
        run: Called with the function to which it sends its values.
        close: Called if the iterator is closed before the last value was requested.
        report: Called with an error of `run` that the closed iterator did not raise.

    Raises:
        BaseException: An error that `run` raises.
    """
    told: queue.SimpleQueue[T | _End[T]] = queue.SimpleQueue()
    closed = threading.Event()

    def main() -> None:
        try:
            told.put(_End(run(told.put)))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that iterates
            told.put(_End(error=error))
        if closed.is_set():
            _report_unread(told.get_nowait, report)

    context = copy_context()
    thread = threading.Thread(target=context.run, args=(main,), name="opencode-sessions stream", daemon=True)
    thread.start()
    ended = False
    try:
        while not isinstance(value := told.get(), _End):
            yield value
        ended = True
    finally:
        closed.set()
        if not ended:
            _report_unread(told.get_nowait, report)
            close()
    yield _last(value)


async def astream(
    run: Callable[[Callable[[T], object]], Awaitable[T]],
    *,
    close: Callable[[], Awaitable[object]],
    report: Report,
) -> AsyncGenerator[T]:
    """The same with a task instead of the thread; see `stream`."""
    told: asyncio.Queue[T | _End[T]] = asyncio.Queue()
    closed = False

    async def main() -> None:
        try:
            told.put_nowait(_End(await run(told.put_nowait)))
        except BaseException as error:  # noqa: BLE001 - likewise
            told.put_nowait(_End(error=error))
        if closed:
            _report_unread(told.get_nowait, report)

    task = asyncio.get_running_loop().create_task(main(), name="opencode-sessions stream")
    _running.add(task)
    task.add_done_callback(_running.discard)
    ended = False
    try:
        while not isinstance(value := await told.get(), _End):
            yield value
        ended = True
    finally:
        closed = True
        if not ended:
            _report_unread(told.get_nowait, report)
            await close()
    yield _last(value)


def _report_unread(take: Callable[[], Any], report: Report) -> None:
    """Report the error that nobody will read. `take` gives each value once, so the error is reported once."""
    with suppress(queue.Empty, asyncio.QueueEmpty):
        while True:
            value = take()
            if isinstance(value, _End) and isinstance(value.error, Exception):
                report(value.error)


def _last(end: _End[Any]) -> Any:
    if end.error is not None:
        raise end.error
    return end.last


_running: set[asyncio.Task[None]] = set()
"""The loop keeps weak references only."""
