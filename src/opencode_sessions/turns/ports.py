"""What a turn asks of a server. `wire.api.Api` is one such wire; its docstrings tell of each call."""

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
    """What reading the state of a turn asks of a server."""

    def messages(self, session_id: str, /, *, page_size: int = ...) -> AsyncIterator[Message]: ...
    async def message(self, session_id: str, message_id: str, /) -> Message: ...
    async def get(self, session_id: str, /) -> SessionInfo: ...
    async def busy(self, session_id: str, /, *, directory: str | None = ...) -> bool: ...
    async def unopened_directory(self, session_id: str, /) -> str | None: ...


class AskWire(Protocol):
    """What minding a turn's asks asks of a server."""

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
    """What a turn asks of a server."""

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
    """What becomes of the files of a turn."""

    async def open(self, wire: TurnWire, message: MessageStore, record: RecordStore, /) -> None:
        """The turn has the record, and nothing was asked of the server yet: see to it that its agent can work."""

    async def begin(self, wire: TurnWire, message: MessageStore, /) -> None:
        """The prompt is about to be sent, perhaps not for the first time."""

    async def collect(self, wire: TurnWire, message: MessageStore, row: MessageState, /) -> None:
        """The turn's end is stored, perhaps long ago: collect its files, if that was not done."""


class NoFiles:
    """`TurnFiles` of a host that keeps none."""

    async def open(self, wire: TurnWire, message: MessageStore, record: RecordStore, /) -> None: ...
    async def begin(self, wire: TurnWire, message: MessageStore, /) -> None: ...
    async def collect(self, wire: TurnWire, message: MessageStore, row: MessageState, /) -> None: ...
