"""Rejecting what a session and its sub-agents wait for a person to answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from opencode_sessions.errors import BadRequestError, NotFoundError, SessionNotFoundError, WireError
from opencode_sessions.protocol.events import PermissionAsked, QuestionAsked
from opencode_sessions.protocol.values import SessionInfo

__all__ = ["reject_asks"]


class _Wire(Protocol):
    async def get(self, session_id: str) -> SessionInfo: ...
    async def pending_permissions(self, *, directory: str | None) -> Sequence[PermissionAsked]: ...
    async def pending_questions(self, *, directory: str | None) -> Sequence[QuestionAsked]: ...
    async def reject_permission(self, request_id: str, *, directory: str | None) -> None: ...
    async def reject_question(self, request_id: str, *, directory: str | None) -> None: ...


async def reject_asks(wire: _Wire, session_id: str) -> Sequence[WireError]:
    """Reject them, and say what could not be listed, and so may still wait.

    Asks are listed by directory, and name the session that asks: a sub-agent's is found by its parents.
    """
    try:
        directory = (await wire.get(session_id)).directory
    except SessionNotFoundError:
        return ()
    unlisted: list[WireError] = []
    asks: list[PermissionAsked | QuestionAsked] = []
    for pending in (wire.pending_permissions, wire.pending_questions):
        try:
            asks += await pending(directory=directory)
        except BadRequestError as error:
            unlisted.append(error)
    family = _Family(wire, session_id)
    for ask in asks:
        if not await family.has(ask.session_id):
            continue
        reject = wire.reject_permission if isinstance(ask, PermissionAsked) else wire.reject_question
        with suppress(NotFoundError):  # answered meanwhile, or rejected along with another ask of its session
            await reject(ask.request_id, directory=directory)
    return unlisted


class _Family:
    """Whether sessions descend from one; what was found out is kept."""

    def __init__(self, wire: _Wire, session_id: str) -> None:
        self._wire = wire
        self._known: dict[str | None, bool] = {session_id: True, None: False}

    async def has(self, session_id: str | None) -> bool:
        if session_id not in self._known:
            assert session_id is not None  # noqa: S101 - None is known
            try:
                parent = (await self._wire.get(session_id)).parent_id
            except SessionNotFoundError:
                parent = None
            self._known[session_id] = await self.has(parent)
        return self._known[session_id]
