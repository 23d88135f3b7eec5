"""Storing the end of a turn, although the database may be away, or may fail after it has committed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from opencode_sessions.errors import OpencodeError, RecordGoneError, ServerUnreachableError
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.store.messages import MessageState, MessageStore

__all__ = ["store_result"]

_log = logging.getLogger("opencode_sessions.turn")

_PAUSES = (0.2, 1.0, 3.0)
"""Seconds between the attempts."""


async def store_result(
    store: MessageStore,
    clock: Clock,
    epoch: int,
    end: MessageState,
    *,
    if_interrupted: Callable[[], Awaitable[None]],
) -> bool:
    """Store the end of a turn. If this task is cancelled, the end is stored first.

    Args:
        store: The message's store.
        clock: The clock of the waits.
        epoch: This runner's epoch.
        end: The answer, and its terminal status.
        if_interrupted: If this task is cancelled, it is called once the end is stored.

    Returns:
        False if another runner has taken or ended the turn.
    """
    try:
        return await _store(store, clock, epoch, end)
    except (Exception, GeneratorExit):
        raise
    except BaseException:
        with suppress(Exception):
            if await store.finish(epoch, end) or await _is_stored(store, epoch):
                await if_interrupted()
        raise


async def _store(store: MessageStore, clock: Clock, epoch: int, end: MessageState) -> bool:
    doubtful = False
    pauses = iter(_PAUSES)
    while True:
        try:
            return await store.finish(epoch, end) or (doubtful and await _is_stored(store, epoch))
        except OpencodeError:
            raise
        except Exception as error:
            pause = next(pauses, None)
            if pause is None:
                raise
            _log.warning("the end of %s cannot be stored now: %s", store.key, error)
            doubtful = True  # the write may have been committed although an error came back
        with suppress(ServerUnreachableError):  # the client was closed, but only the database is needed here
            await clock.sleep(pause)


async def _is_stored(store: MessageStore, epoch: int) -> bool:
    """Did this runner store the end? A cancel raises the epoch, so the epoch tells."""
    try:
        row = await store.load()
    except RecordGoneError:
        return False
    return row.status.terminal and row.epoch == epoch
