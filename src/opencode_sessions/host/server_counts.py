"""The load and health of each server of a host, for metrics and `doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opencode_sessions.errors import OpencodeError
from opencode_sessions.host.servers import Server, running_on
from opencode_sessions.host.settings import HostSettings
from opencode_sessions.store.turn_table import ServerCount
from opencode_sessions.wire.address import Timeouts
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = ["acount_servers", "count_servers", "load_of"]

_SOON = Timeouts(connect=2.0, first_read=2.0, read=2.0)
"""The process that counts also renews leases, so a server that hangs must not delay it."""

_AT_ONCE = 32
"""How many servers are asked at once."""


def count_servers(settings: HostSettings, running: Mapping[str | None, int]) -> list[ServerCount]:
    """The counts of all servers. They are asked at the same time, so that one that hangs does not add up.

    Args:
        settings: The host's settings, with the servers.
        running: See `TurnTable.running`.
    """
    options = settings.client_options()
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="opencode-health") as threads:
        well = list(threads.map(_is_well, options.values()))
    return [
        _count(name, settings.named_servers[name], running, healthy=healthy)
        for name, healthy in zip(options, well, strict=True)
    ]


async def acount_servers(settings: HostSettings, running: Mapping[str | None, int]) -> list[ServerCount]:
    """The same for asyncio."""
    options = settings.client_options()
    well = await asyncio.gather(*map(_ais_well, options.values()))
    return [
        _count(name, settings.named_servers[name], running, healthy=healthy)
        for name, healthy in zip(options, well, strict=True)
    ]


def load_of(settings: HostSettings, running: Mapping[str | None, int]) -> str:
    """How many turns run on each server, for people."""
    return ", ".join(
        f"{name}: {running_on(running, name)}{f' of {said.turns}' if said and said.turns else ''} turns"
        + (" (draining)" if said and said.draining else "")
        for name, said in settings.named_servers.items()
    )


def _count(
    name: str, said: Server | None, running: Mapping[str | None, int], *, healthy: bool
) -> ServerCount:
    count = running_on(running, name)
    limit, weight = (None, 1.0) if said is None else (said.turns, said.weight)
    return ServerCount(name, count, None if limit is None else max(limit - count, 0), count / weight, healthy)


def _is_well(options: Mapping[str, Any]) -> bool:
    try:
        with Client(**{**options, "timeouts": _SOON}) as client:
            client.health()
    except OpencodeError:
        return False
    return True


async def _ais_well(options: Mapping[str, Any]) -> bool:
    try:
        async with AsyncClient(**{**options, "timeouts": _SOON}) as client:
            await client.health()
    except OpencodeError:
        return False
    return True
