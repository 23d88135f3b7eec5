"""The clients of this process, made from the settings."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from opencode_sessions.django.conf import settings
from opencode_sessions.django.turn_table import table
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sessions.servers import Servers
from opencode_sessions.store.turn_table import Usage
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = [
    "arunning",
    "async_client",
    "async_servers",
    "ausage",
    "client",
    "leave_open",
    "new_client",
    "running",
    "servers",
    "usage",
]

C = TypeVar("C", Client, AsyncClient)


@dataclass(frozen=True, slots=True)
class _Held:
    """An event loop's clients, their settings, and the generator that closes them when the loop ends."""

    made_from: Any
    servers: Servers[AsyncClient]
    keeper: AsyncGenerator[None]


@dataclass(slots=True)
class _Shared:
    """The state of this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    made_from: Any = None
    servers: Servers[Client] | None = None
    of_loops: dict[asyncio.AbstractEventLoop, _Held] = field(default_factory=dict)


_shared = _Shared()


def servers() -> Servers[Client]:
    """The clients of the settings' servers, by name; one for each server in a process, for all threads.

    They are made at the first call, made again when the settings change, and closed at exit. `Session` and `Turn`
    accept this in place of a client, also with one server.

    Raises:
        ImproperlyConfigured: The settings cannot work.
        ConfigurationError: A URL cannot be a server's.
    """
    now = settings()
    made_from = (now.client_options(), now.servers, now.server_for)
    with _shared.lock:
        if _shared.servers is None or _shared.made_from != made_from:
            made = {name: Client(**options) for name, options in now.client_options().items()}
            outdated, _shared.servers = _shared.servers, Servers(made, chooser=now.chooser(running))
            _shared.made_from = made_from
            for each in outdated.values() if outdated is not None else ():
                each.close()
        return _shared.servers


def client(name: str | None = None) -> Client:
    """The client of the settings' server, or of the server with this name. See `servers`.

    Raises:
        ImproperlyConfigured, ConfigurationError: See `servers`; or there is no such server.
    """
    return _one_of(servers(), name)


def async_servers() -> Servers[AsyncClient]:
    """See `servers`; for asyncio. The clients belong to the running event loop, and are closed with it.

    Raises:
        RuntimeError: No event loop is running.
        ImproperlyConfigured, ConfigurationError: See `servers`.
    """
    loop = asyncio.get_running_loop()
    now = settings()
    made_from = (now.client_options(), now.servers, now.server_for)
    held = _shared.of_loops.get(loop)
    if held is None or held.made_from != made_from:
        if held is not None:
            loop.create_task(held.keeper.aclose())  # noqa: RUF006 - the loop finishes its tasks at its end
        _forget_closed_loops()
        clients = {name: AsyncClient(**options) for name, options in now.client_options().items()}
        made = Servers(clients, chooser=now.chooser(arunning))
        held = _shared.of_loops[loop] = _Held(made_from, made, _kept(loop, made))
        with suppress(StopIteration):
            held.keeper.__anext__().send(None)  # run it to its yield, without a wait
    return held.servers


def async_client(name: str | None = None) -> AsyncClient:
    """See `client` and `async_servers`."""
    return _one_of(async_servers(), name)


def _one_of(found: Servers[C], name: str | None) -> C:
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None:
        raise ConfigurationError(
            f"there are several servers, {', '.join(found)}: name one, as in client({next(iter(found))!r}), or give "
            "servers() to Session and Turn"
        )
    if name not in found:
        raise ConfigurationError(f'there is no server {name!r}: OPENCODE["SERVERS"] has {", ".join(found)}')
    return found[name]


async def running() -> Mapping[str | None, int]:
    """See `TurnTable.running`."""
    return await table.running()


async def usage(message: Any, of: Any, since: datetime | None) -> Usage:
    """See `TurnTable.usage`."""
    return await table.usage(message, of, since)


async def ausage(message: Any, of: Any, since: datetime | None) -> Usage:
    """The same for asyncio."""
    return await sync_to_async(lambda: run_sync(table.usage(message, of, since)))()


async def arunning() -> Mapping[str | None, int]:
    """The same for asyncio."""
    return await sync_to_async(lambda: run_sync(table.running()))()


async def _kept(loop: asyncio.AbstractEventLoop, made: Servers[AsyncClient]) -> AsyncGenerator[None]:
    """Close clients when their event loop ends: a loop then closes the async generators that began in it."""
    try:
        yield
    finally:
        held = _shared.of_loops.get(loop)
        if held is not None and held.servers is made:
            del _shared.of_loops[loop]
        for each in made.values():
            await each.close()


def _forget_closed_loops() -> None:
    """Forget the clients of loops that were closed without closing their async generators."""
    for loop in list(_shared.of_loops):
        if loop.is_closed():
            _shared.of_loops.pop(loop, None)


def new_client(name: str) -> Client:
    """A new client of one of the settings' servers. The caller closes it."""
    return Client(**settings().client_options()[name])


def leave_open() -> None:
    """Do not close the clients at exit, because a turn in a daemon thread would then fail."""
    atexit.unregister(_close)


def _close() -> None:
    for each in _shared.servers.values() if _shared.servers is not None else ():
        with suppress(Exception):
            each.close()


def _after_fork() -> None:
    """Renew the lock in a forked child, as another thread may have held it. The client handles the fork itself."""
    _shared.lock = threading.Lock()
    _shared.of_loops = {}


atexit.register(_close)
os.register_at_fork(after_in_child=_after_fork)
