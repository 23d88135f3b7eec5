"""`Together`: what the turns of a process write at about the same time is written in one transaction.

    a turn writes ──► is a transaction under way? ──no──► write all that waits, in one transaction
                            │ yes                            ▲
                            └──► wait for its end ───────────┘ unless that one wrote it, or another that waited

It saves work and promises nothing. A write that was not made here, for whatever reason, is made by its turn alone, in
a transaction of its own: so a row that fails or is locked holds up no other, and the turn learns the row's own answer.
A write may be made twice, as it is a compare-and-set under one epoch that sets the same values.
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
        make_lock: Makes a lock of those who write: threads, or tasks.
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
            True if it held what was expected, and now holds the values. False if not, or if nobody knows: write it
            alone.
        """
        write = RowWrite(row, expected, values)
        self._waiting.append(write)
        try:
            async with self._lock:
                if write in self._waiting:
                    await self._write_all()
        finally:
            with suppress(ValueError):  # interrupted: what is released must not be kept afterwards
                self._waiting.remove(write)
        return write.made

    async def leave(self, row: R) -> None:
        """The turn of this row writes nothing more for now."""

    async def _write_all(self) -> None:
        writes = [*self._waiting]
        del self._waiting[: len(writes)]
        try:
            made = await self._transaction(writes)
        except Exception as error:  # noqa: BLE001 - each is written alone, and its own error is raised then
            _log.debug("%d rows cannot be written together, so each alone: %s", len(writes), error)
        else:
            for write, done in zip(writes, made, strict=True):
                write.made = done

    @abstractmethod
    async def _transaction(self, writes: Sequence[RowWrite[R]]) -> Sequence[bool]:
        """Write the rows in one transaction, without waiting for one that is locked. Which were written?"""
