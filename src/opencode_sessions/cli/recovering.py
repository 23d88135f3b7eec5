"""`opencode-sessions recover`: sends abandoned turns to the queue of a host again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from opencode_sessions.cli.hosts import load_host
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost, Host
from opencode_sessions.jobs.dispatch import dispatch_abandoned
from opencode_sessions.runtime.stepping import blocking_sleep, run_sync
from opencode_sessions.store.messages import PENDING_LEASE

__all__ = ["recover"]

_LOOK = 0.2


def recover(
    host: Annotated[
        str,
        typer.Argument(metavar="MODULE:NAME", help="Your host, such as worker:opencode.", show_default=False),
    ],
    *,
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Repeat after this many seconds, until stopped.", show_default=False
        ),
    ] = None,
) -> None:
    """Send abandoned turns to your host's queue again. With --watch, repeat this.

    In a Django project use `manage.py opencode_recover`. A host without a queue recovers turns by itself.
    """
    if watch is not None and not 0 < watch < PENDING_LEASE:
        raise ConfigurationError(f"--watch needs a number of seconds between 0 and {PENDING_LEASE:g}")
    found = load_host(host)
    if isinstance(found, AsyncHost):
        asyncio.run(_entered(found, watch))
    else:
        with found:
            run_sync(_recover(found, watch, blocking_sleep))


async def _entered(host: AsyncHost, watch: float | None) -> None:
    async with host:
        await _recover(host, watch, asyncio.sleep)


async def _recover(
    host: Host | AsyncHost, watch: float | None, sleep: Callable[[float], Awaitable[None]]
) -> None:
    while True:
        try:
            sent = await dispatch_abandoned(host)
        except Exception as error:
            if watch is None or not host.table.is_transient(error):
                raise
            typer.echo(f"turns that were left behind cannot be looked for now: {error}", err=True)
        else:
            if sent:
                typer.echo(f"turns that nobody ran and that were sent again: {sent}")
        if watch is None:
            break
        await sleep(watch)
    while not host.idle:  # a host without a queue runs them here
        await sleep(_LOOK)
