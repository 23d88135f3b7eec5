"""`Together`: puts the writes that the turns of a process make at about the same time into one transaction.

    a turn writes ──► is a transaction under way? ──no──► write all that waits, in one transaction
                            │ yes                            ▲
                            └──► wait for its end ───────────┘ unless that one, or another that waited, wrote it

It saves work and guarantees nothing. If a write was not made here, its turn makes it alone, in a transaction of its
own. So a row that fails or is locked does not delay other rows, and the turn gets the row's own error. A write may be
made twice: it is a compare-and-set under one epoch, and sets the same values.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from opencode_sessions.runtime.forks import renew_in_children

__all__ = ["RowWrite", "Together"]

_log = logging.getLogger("opencode_sessions.store")

R = TypeVar("R")


@dataclass(slots=True, eq=False)
class RowWrite(Generic[R]):
    """One row's compare-and-set, and whether it was made."""

    row: R
    expected: Mapping[str, object]
    values: Mapping[str, object]
    made: bool = False


class Together(ABC, Generic[R]):
    """The writes of all turns of one process into one database, or one table of it.

    Args:
        make_lock: Makes a lock for the writers, which are threads or tasks.
    """

    def __init__(self, make_lock: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._make_lock = make_lock
        self._renew()
        renew_in_children(self, lambda together: together._renew())  # noqa: SLF001 - its own

    def _renew(self) -> None:
        """As new, for a forked child."""
        self._lock = self._make_lock()
        self._waiting: list[RowWrite[R]] = []

    async def write(self, row: R, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        """Write the row, with all others that wait.

        Returns:
            True if the row had the expected values, and now has the new ones. False if not, or if that is unknown: the
            caller then writes the row alone.
        """
        write = RowWrite(row, expected, values)
        self._waiting.append(write)
        try:
            async with self._lock:
                if write in self._waiting:
                    await self._write_all()
        finally:
            with suppress(ValueError):  # interrupted: a released turn must not be written afterwards
                self._waiting.remove(write)
        return write.made

    async def _write_all(self) -> None:
        writes = [*self._waiting]
        del self._waiting[: len(writes)]
        try:
            made = await self._transaction(writes)
        except Exception as error:  # noqa: BLE001 - each row is then written alone, and raises its own error
            _log.debug("%d rows cannot be written together, so each alone: %s", len(writes), error)
        else:
            for write, done in zip(writes, made, strict=True):
                write.made = done

    @abstractmethod
    async def _transaction(self, writes: Sequence[RowWrite[R]]) -> Sequence[bool]:
        """Write the rows in one transaction, without waiting for locks. Tells for each row whether it was written."""
