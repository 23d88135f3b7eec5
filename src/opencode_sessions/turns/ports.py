"""The calls that a turn makes to a server. `wire.api.Api` implements them; its docstrings describe each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from opencode_sessions.protocol.events import Event, PermissionAsked, QuestionAsked
from opencode_sessions.protocol.values import Message, SessionInfo
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.store.messages import MessageState, MessageStore
from opencode_sessions.store.records import RecordStore

__all__ = ["AskWire", "Events", "ExchangeWire", "NoFiles", "TurnFiles", "TurnWire"]


class Events(Protocol):
    """A subscription to one session's events."""

    async def next(self, timeout: float | None = None) -> Event | None: ...
    def interrupt(self, error: Exception, /) -> None: ...
    def close(self) -> None: ...


class ExchangeWire(Protocol):
    """The calls that read the state of a turn."""

    def messages(self, session_id: str, /, *, page_size: int = ...) -> AsyncIterator[Message]: ...
    async def message(self, session_id: str, message_id: str, /) -> Message: ...
    async def get(self, session_id: str, /) -> SessionInfo: ...
    async def busy(self, session_id: str, /, *, directory: str | None = ...) -> bool: ...
    async def unopened_directory(self, session_id: str, /) -> str | None: ...


class AskWire(Protocol):
    """The calls for the asks of a turn."""

    @property
    def clock(self) -> Clock: ...
    async def pending_asks(self, session_id: str, /) -> Sequence[PermissionAsked | QuestionAsked]: ...
    async def answer_permission(
        self, session_id: str, request_id: str, reply: str, /, *, message: str | None
    ) -> None: ...
    async def answer_question(
        self, request_id: str, answers: Iterable[Iterable[str]], /, *, session_id: str
    ) -> None: ...
    async def reject_question(self, request_id: str, /, *, session_id: str) -> None: ...


class TurnWire(SessionWire, ExchangeWire, AskWire, Protocol):
    """All calls that a turn makes to a server."""

    async def subscribe(self, session_id: str, /) -> Events: ...
    async def attachment(self, session_id: str, message_id: str, attachment_id: str, /) -> bytes: ...
    async def list_files(self, path: str, /, *, directory: str | None) -> Mapping[str, str]: ...
    def read_file(self, path: str, /, *, directory: str | None) -> AsyncIterator[bytes]: ...
    async def withdraw(self, session_id: str, message_id: str, /) -> bool: ...
    async def prompt(
        self,
        session_id: str,
        prompt: Iterable[Mapping[str, Any]],
        /,
        *,
        message_id: str,
        agent: str | None,
        model: str | None,
        system: str | None,
        variant: str | None,
        schema: Mapping[str, Any] | None,
    ) -> object: ...


class TurnFiles(Protocol):
    """Prepares the sandbox of a turn, and collects the files that the turn made."""

    async def open(self, wire: TurnWire, record: RecordStore, /) -> None:
        """Prepare the agent's folder. The turn holds the record's lock, and has sent no request yet."""

    async def begin(self, wire: TurnWire, message: MessageStore, /) -> None:
        """Note the state of the folder. The prompt is about to be sent, perhaps again, and the session is idle."""

    async def collect(self, wire: TurnWire, message: MessageStore, row: MessageState, /) -> None:
        """Collect the files of a turn whose end is stored, unless they were collected before."""


class NoFiles:
    """`TurnFiles` of a host that collects no files."""

    async def open(self, wire: TurnWire, record: RecordStore, /) -> None: ...
    async def begin(self, wire: TurnWire, message: MessageStore, /) -> None: ...
    async def collect(self, wire: TurnWire, message: MessageStore, row: MessageState, /) -> None: ...
