"""Storing the end of a turn: a database that is elsewhere for a moment, or says too late that it has it."""

from __future__ import annotations

import logging
from contextlib import suppress

from opencode_sessions.errors import OpencodeError, RecordGoneError, ServerUnreachableError
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.store.messages import MessageState, MessageStore

__all__ = ["store_result"]

_log = logging.getLogger("opencode_sessions.turn")

_PAUSES = (0.2, 1.0, 3.0)
"""Seconds between the tries."""


async def store_result(store: MessageStore, clock: Clock, epoch: int, end: MessageState) -> bool:
    """Store how a turn ended. Where this task is cancelled meanwhile, it is stored first.

    Args:
        store: The message's.
        clock: By which it waits.
        epoch: This runner's.
        end: The answer, and its terminal status.

    Returns:
        False where the row is not this runner's any more.
    """
    doubtful = False
    pauses = iter(_PAUSES)
    while True:
        try:
            return await store.finish(epoch, end) or (doubtful and await _is_stored(store, epoch))
        except (OpencodeError, GeneratorExit):
            raise
        except Exception as error:
            pause = next(pauses, None)
            if pause is None:
                raise
            _log.warning("the end of %s cannot be stored now: %s", store.key, error)
            doubtful = True  # what it says can have been lost after it was committed
        except BaseException:
            with suppress(Exception):
                await store.finish(epoch, end)
            raise
        with suppress(ServerUnreachableError):  # the client was closed: what is waited for is the database
            await clock.sleep(pause)


async def _is_stored(store: MessageStore, epoch: int) -> bool:
    """Has this runner ended it? Whoever cancels a turn raises its epoch."""
    try:
        row = await store.load()
    except RecordGoneError:
        return False
    return row.status.terminal and row.epoch == epoch
