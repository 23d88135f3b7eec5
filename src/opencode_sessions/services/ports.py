"""What the services ask of a wire and a clock. `wire.api.Api` is one such wire; its docstrings say what each does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from opencode_sessions.protocol.events import Event, PermissionAsked, QuestionAsked
from opencode_sessions.protocol.permissions import Rule
from opencode_sessions.protocol.values import Message, SessionInfo

__all__ = ["AskWire", "Clock", "Events", "ExchangeWire", "SessionWire", "TurnWire"]

T = TypeVar("T")


class Clock(Protocol):
    """Time, in seconds on a clock that only goes forward; waiting, and having something done meanwhile.

    `sleep` raises ServerUnreachableError where the client was closed. `spawn` gives what cancels it again, as far as
    that can be: a thread goes on. `call` is for a function of the host's, which may block: whoever else waits here is
    not to wait for it.
    """

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float, /) -> None: ...
    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str, /) -> Callable[[], object]: ...
    async def call(self, function: Callable[[], T], /) -> T: ...


class Events(Protocol):
    """A subscription to one session's events."""

    async def next(self, timeout: float | None = None) -> Event | None: ...
    def close(self) -> None: ...


class SessionWire(Protocol):
    """What the lifecycle asks of a server."""

    @property
    def clock(self) -> Clock: ...
    async def create(self, session_id: str, /, *, directory: str | None) -> object: ...
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
    async def stop(self, session_id: str, /) -> Sequence[Exception]: ...
    async def delete(self, session_id: str, /) -> bool: ...


class ExchangeWire(Protocol):
    """What reading the state of a turn asks of a server."""

    def messages(self, session_id: str, /, *, page_size: int = ...) -> AsyncIterator[Message]: ...
    async def message(self, session_id: str, message_id: str, /) -> Message: ...
    async def get(self, session_id: str, /) -> SessionInfo: ...
    async def busy(self, session_id: str, /, *, directory: str | None = ...) -> bool: ...


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
