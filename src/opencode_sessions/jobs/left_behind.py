"""Recovery: finds abandoned turns, and turns that have ended and whose files are due."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opencode_sessions.files.artifacts import LOOK_AFTER
from opencode_sessions.files.ports import Due
from opencode_sessions.jobs.ports import JobHost
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import TurnJob

__all__ = ["left_behind"]

_log = logging.getLogger("opencode_sessions.jobs")


async def left_behind(host: JobHost, *, reserve_for: float) -> Sequence[TurnJob]:
    """The jobs to dispatch again. For a turn that has ended, only its files are collected.

    Args:
        host: The host.
        reserve_for: See `TurnTable.abandoned`.
    """
    return [*await host.table.abandoned(reserve_for=reserve_for), *await _whose_files_are_due(host)]


async def _whose_files_are_due(host: JobHost) -> Sequence[TurnJob]:
    """Turns must not wait for files, and the files of one turn not for those of another: errors are logged."""
    if host.artifacts is None:
        return []
    found = []
    try:
        for due in await host.artifacts.due(look_after=LOOK_AFTER):
            try:
                if await _has_ended(host, due):
                    found.append(due.job)
            except Exception as error:  # noqa: BLE001 - logged
                _warn(host, f"the files of {due.job} are due and cannot be collected now", error)
    except Exception as error:  # noqa: BLE001 - logged
        _warn(host, "files that are due cannot be looked for now", error)
    return found


def _warn(host: JobHost, told: str, error: Exception) -> None:
    _log.warning("%s: %s", told, error, exc_info=None if host.table.is_transient(error) else error)


async def _has_ended(host: JobHost, due: Due) -> bool:
    with host.table.inside(due.job.tenant):
        message = await host.table.find(due.job)
        if message is None and host.artifacts is not None:
            await host.artifacts.delete_of_message(due.message)
        return message is not None and TurnStatus(message.status).terminal
