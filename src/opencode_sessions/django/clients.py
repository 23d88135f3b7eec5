"""The clients that this process shares, as the settings say."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.django.conf import settings
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = ["async_client", "client", "leave_open", "new_client"]


@dataclass(frozen=True, slots=True)
class _Held:
    """An event loop's client, what it was made from, and what closes it when the loop ends."""

    arguments: dict[str, Any]
    client: AsyncClient
    keeper: AsyncGenerator[None]


@dataclass(slots=True)
class _Shared:
    """What there is in this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    arguments: dict[str, Any] | None = None
    client: Client | None = None
    of_loops: dict[asyncio.AbstractEventLoop, _Held] = field(default_factory=dict)


_shared = _Shared()


def client() -> Client:
    """The client of the settings' server, one in a process, for all threads.

    It is made when it is first asked for, made anew when the settings change, and closed at exit.

    Raises:
        ImproperlyConfigured: The settings cannot work.
        ConfigurationError: The URL is not a server's.
    """
    arguments = settings().client_options()
    with _shared.lock:
        if _shared.client is None or _shared.arguments != arguments:
            outdated, _shared.client = _shared.client, Client(**arguments)
            _shared.arguments = arguments
            if outdated is not None:
                outdated.close()
        return _shared.client


def async_client() -> AsyncClient:
    """The same for asyncio: one in an event loop, closed with it. Call it where that loop runs.

    Raises:
        RuntimeError: No event loop runs here.
        ImproperlyConfigured, ConfigurationError: See `client`.
    """
    loop = asyncio.get_running_loop()
    arguments = settings().client_options()
    held = _shared.of_loops.get(loop)
    if held is None or held.arguments != arguments:
        if held is not None:
            loop.create_task(held.keeper.aclose())  # noqa: RUF006 - a loop finishes its tasks before it ends
        _forget_closed_loops()
        made = AsyncClient(**arguments)
        held = _shared.of_loops[loop] = _Held(arguments, made, _kept(loop, made))
        with suppress(StopIteration):
            held.keeper.__anext__().send(None)  # up to its yield, without a wait
    return held.client


async def _kept(loop: asyncio.AbstractEventLoop, client: AsyncClient) -> AsyncGenerator[None]:
    """Closes a client when its event loop ends: a loop then closes the async generators that began in it."""
    try:
        yield
    finally:
        held = _shared.of_loops.get(loop)
        if held is not None and held.client is client:
            del _shared.of_loops[loop]
        await client.close()


def _forget_closed_loops() -> None:
    """Of those that were closed without their async generators, whose keepers never ran to their ends."""
    for loop in list(_shared.of_loops):
        if loop.is_closed():
            _shared.of_loops.pop(loop, None)


def new_client() -> Client:
    """A client of the settings' server that the caller closes."""
    return Client(**settings().client_options())


def leave_open() -> None:
    """Do not close the client at exit: a turn that runs in a daemon thread would take that for its own failure."""
    atexit.unregister(_close)


def _close() -> None:
    if _shared.client is not None:
        with suppress(Exception):
            _shared.client.close()


def _after_fork() -> None:
    """A lock that another thread held at the fork would stay locked; the client itself minds the fork."""
    _shared.lock = threading.Lock()
    _shared.of_loops = {}


atexit.register(_close)
os.register_at_fork(after_in_child=_after_fork)
