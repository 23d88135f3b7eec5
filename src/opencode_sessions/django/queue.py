"""The queue of a message, which runs its turn, and the next one of its record, in the background."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import sync_to_async
from django.db import models

from opencode_sessions.django.host import host
from opencode_sessions.django.rows import database_of
from opencode_sessions.django.tenants import current_tenant, inside
from opencode_sessions.django.turn_table import table
from opencode_sessions.jobs.queue import RecordQueue
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.turn_table import Place

__all__ = ["DjangoQueue"]


class DjangoQueue:
    """`RecordQueue` in the message's tenant.

    Args:
        message: The message of the turn.
        asynchronous: Whether its calls suspend.
    """

    def __init__(self, message: models.Model, *, asynchronous: bool) -> None:
        self._message = message
        self._queue = RecordQueue(table, message, host, host.may_begin)
        self._asynchronous = asynchronous
        # As for a store: the thread of an event loop has no tenant; the thread that works has one.
        self._tenant = None if asynchronous else current_tenant(database_of(message))

    async def put(self) -> None:
        """See `TurnQueue.put`."""
        await self._run(self._queue.put)

    async def put_next(self) -> None:
        """See `TurnQueue.put_next`."""
        await self._run(self._queue.put_next)

    async def put_waiting(self, place: Place) -> None:
        """See `TurnQueue.put_waiting`."""
        await self._run(lambda: self._queue.put_waiting(place))

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._asynchronous:
            await sync_to_async(self._inside)(work)
        else:
            self._inside(work)

    def _inside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._tenant is None:
            self._tenant = current_tenant(database_of(self._message))
        with inside(self._tenant):
            run_sync(work())
