"""What one line of the server can be asked, and how it says it: the port behind which each line is one package.

A dialect is a module, such as `wire.v1.calls`: its functions make calls. A call is one request and how its answer is
read. Something that takes several requests on a line is a sequence of calls, made in their order: what the last one
says counts. Whatever asks a server asks its dialect, and never which version it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from opencode_sessions.protocol.events import Event, PermissionAsked, QuestionAsked, SessionStatus
from opencode_sessions.protocol.permissions import Rule
from opencode_sessions.protocol.values import Health, Message, SessionInfo
from opencode_sessions.wire.http import Request

__all__ = ["PROBE", "Call", "Dialect", "Hears", "Json", "Reader", "Thread"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Json = Mapping[str, Any]

PROBE = "opencode-sessions.probe"
"""The command of a probe of the event stream, by which it is known when it comes back."""

Hears = Callable[[str], bool]
"""Does anybody listen to a session?"""

Reader = Callable[[bytes, Hears], Iterable[Event]]
"""Turns one frame of the stream into events. It may keep what it has read of one connection."""


def _unread(body: Any) -> Any:
    """What was answered, as it came."""
    return body


def _no_next_page(body: Any, headers: Mapping[str, str]) -> None:  # noqa: ARG001 - as `Call.next_page` has it
    return None


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One request, and how its answer is read.

    Attributes:
        request: What is sent.
        parse: Makes a value of the answer's JSON. Raises KeyError, TypeError, AttributeError or ValueError if the
            answer has another shape.
        next_page: Of a list: makes the cursor of its next page of the answer's JSON and headers; None on the last page.
        none_found: A 404 is as good an answer as any, unless there is no such session: there was nothing to do.
    """

    request: Request
    parse: Callable[[Any], T_co] = _unread
    next_page: Callable[[Any, Mapping[str, str]], str | None] = _no_next_page
    none_found: bool = False


class Thread(Protocol):
    """Says of stored messages, given newest first, which prompt each answers."""

    def take(self, message: Message, /) -> Iterable[Message]:
        """Those of which it is known by now, newest first."""


class Dialect(Protocol):
    """What each line can be asked. What one line has no counterpart of is None there."""

    # Sessions.

    def create(
        self,
        session_id: str,
        /,
        *,
        directory: str | None,
        title: str | None,
        rules: Sequence[Rule],
        metadata: Json | None,
    ) -> Sequence[Call[SessionInfo]]:
        """Under the caller's id, however often it is sent. The first call makes it."""

    def create_unnamed(
        self,
        *,
        directory: str | None,
        title: str | None,
        rules: Sequence[Rule],
        metadata: Json | None,
        parent_id: str | None,
    ) -> Call[SessionInfo]:
        """Under an id that the server chooses; not repeatable."""

    def get(self, session_id: str, /) -> Call[SessionInfo]: ...
    def update(
        self, session_id: str, /, *, title: str | None, rules: Iterable[Rule] | None, metadata: Json | None
    ) -> Sequence[Call[SessionInfo]]: ...
    def delete(self, session_id: str, /) -> Call[Any]: ...
    def abort(self, session_id: str, /) -> Call[Any]: ...
    def waiting(self, session_id: str, /) -> Call[frozenset[str]] | None:
        """What was accepted and is not delivered yet. None if the server keeps nothing that it does not run."""

    def withdraw(self, session_id: str, message_id: str, /) -> Call[Any] | None:
        """Take back what waits; otherwise it does nothing."""

    def sessions(
        self, *, directory: str | None, search: str | None, limit: int, cursor: str | None
    ) -> Call[Sequence[SessionInfo]]: ...
    def children(self, session_id: str, /) -> Call[Sequence[SessionInfo]]: ...
    def statuses(self, *, directory: str | None) -> Call[Mapping[str, SessionStatus]]: ...
    def busy(self, *, directory: str | None) -> Call[frozenset[str]]: ...
    def fork(self, session_id: str, message_id: str | None, /) -> Call[SessionInfo]: ...
    def move(self, session_id: str, directory: str, /) -> Call[Any]: ...
    def revert(
        self, session_id: str, message_id: str, part_id: str | None, /
    ) -> Sequence[Call[SessionInfo]]: ...
    def unrevert(self, session_id: str, /) -> Sequence[Call[SessionInfo]]: ...

    # Messages.

    def messages(self, session_id: str, /, *, limit: int, cursor: str | None) -> Call[Sequence[Message]]: ...
    def message(self, session_id: str, message_id: str, /) -> Call[Message]: ...
    def thread(self) -> Thread:
        """For one reading of messages, newest first."""

    def todos(self, session_id: str, /) -> Call[Sequence[Json]] | None: ...
    def prompt(
        self,
        session_id: str,
        /,
        *,
        message_id: str,
        parts: Iterable[Json],
        agent: str | None,
        model: str | None,
        system: str | None,
        variant: str | None,
        schema: Json | None,
    ) -> Sequence[Call[Any]]: ...

    # Asks.

    def permissions(self, *, directory: str | None) -> Call[Sequence[PermissionAsked]]: ...
    def answer_permission(
        self,
        session_id: str,
        request_id: str,
        reply: str,
        /,
        *,
        message: str | None,
        directory: str | None,
    ) -> Call[Any]: ...
    def questions(self, *, directory: str | None) -> Call[Sequence[QuestionAsked]]: ...
    def form(self, session_id: str, request_id: str, /) -> Call[Json] | None:
        """What must be known of a question to answer it."""

    def answer_question(
        self,
        session_id: str | None,
        request_id: str,
        answers: Iterable[Iterable[str]],
        /,
        *,
        form: Json | None,
        directory: str | None,
    ) -> Call[Any]: ...
    def reject_question(
        self, session_id: str | None, request_id: str, /, *, directory: str | None
    ) -> Call[Any]: ...

    # The server.

    def health(self) -> Call[Health | None]:
        """None if this is not how a server of this line says that it is well."""

    def config(self, directory: str, /) -> Call[Json] | None: ...
    def file(self, directory: str, path: str, /) -> Call[Json] | None: ...
    def listing(self, directory: str, /) -> Call[Any] | None: ...
    def list_files(self, directory: str | None, path: str, /) -> Call[Mapping[str, str]]: ...
    def read_file(self, directory: str | None, path: str, /) -> Request: ...
    def dispose(self, directory: str, /) -> Call[Any] | None: ...

    # Events.

    def events(self) -> Request: ...
    def probe(self, *, directory: str | None) -> Request | None:
        """Makes the server say `PROBE` on its event stream, where a stream that is connected may not listen yet."""

    def reader(self) -> Reader:
        """One for each connection."""
