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
    found = list(await host.table.abandoned(reserve_for=reserve_for))
    if host.artifacts is not None:
        try:
            due = await host.artifacts.due(look_after=LOOK_AFTER)
            found += [each.job for each in due if await _has_ended(host, each)]
        except Exception as error:  # noqa: BLE001 - turns must not wait for files
            told = "files that are due cannot be looked for now: %s"
            _log.warning(told, error, exc_info=None if host.table.is_transient(error) else error)
    return found


async def _has_ended(host: JobHost, due: Due) -> bool:
    with host.table.inside(due.job.tenant):
        message = await host.table.find(due.job)
        if message is None and host.artifacts is not None:
            await host.artifacts.delete_of_message(due.message)
        return message is not None and TurnStatus(message.status).terminal
