"""The calls that a lifecycle makes to a server. `wire.api.Api` implements them; its docstrings describe each call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from opencode_sessions.protocol.permissions import Rule
from opencode_sessions.protocol.values import SessionInfo
from opencode_sessions.runtime.ports import Clock

__all__ = ["SessionWire"]


class SessionWire(Protocol):
    """The calls that a lifecycle makes to a server."""

    @property
    def clock(self) -> Clock: ...
    async def create(
        self,
        session_id: str,
        /,
        *,
        directory: str | None,
        title: str | None,
        rules: Iterable[Rule],
        metadata: Mapping[str, Any] | None,
    ) -> SessionInfo: ...
    async def update(
        self,
        session_id: str,
        /,
        *,
        title: str | None,
        rules: Iterable[Rule] | None,
        metadata: Mapping[str, Any] | None,
    ) -> SessionInfo: ...
    async def get(self, session_id: str, /) -> SessionInfo: ...
    async def fork(self, session_id: str, message_id: str | None, /) -> SessionInfo: ...
    async def move(self, session_id: str, directory: str, /) -> None: ...
    async def stop(self, session_id: str, /) -> Sequence[Exception]: ...
    async def delete(self, session_id: str, /) -> bool: ...
