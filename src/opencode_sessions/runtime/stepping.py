"""One `async def` for the sync and the async API.

Everything that waits is written once, as `async def` over ports. A blocking port does its work and returns without
suspending, so one `send(None)` runs a whole coroutine to its end, in the caller's own thread. A suspending port is
awaited as usual.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from inspect import isawaitable
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["blocking", "blocking_iterator", "blocking_sleep", "iterate_sync", "result_of", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose ports all block to its end, in this thread.

    Raises:
        RuntimeError: It suspended: a port of the async API was given to the sync one.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a suspending port was used in the sync API; use opencode_sessions.aio throughout")


async def blocking_sleep(seconds: float) -> None:
    """Wait, in a thread that steps a coroutine by `run_sync`."""
    time.sleep(seconds)  # noqa: ASYNC251 - see above


async def result_of(value: T | Awaitable[T]) -> T:
    """The result of a call that blocks (the value), or of one that suspends (the awaited value)."""
    return await value if isawaitable(value) else value


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """The sync twin of an `async def` method: the same name, arguments and docstring, on `self._core`."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(method(self._core, *args, **kwargs))

    return call


def blocking_iterator(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """The sync twin of an async generator method, as lazy as it is."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        iterator = method(self._core, *args, **kwargs)
        while True:
            try:
                item = run_sync(_next(iterator))
            except StopAsyncIteration:
                return
            yield item

    return call


def iterate_sync(generator: AsyncGenerator[T, None]) -> Iterator[T]:
    """The values of an async generator whose ports all block. Closing this iterator closes the generator."""
    try:
        while True:
            try:
                item = run_sync(_next(generator))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_sync(generator.aclose())


async def _next(iterator: AsyncIterator[T]) -> T:
    return await anext(iterator)
