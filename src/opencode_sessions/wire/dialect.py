"""The requests that one line of the server (1.x or 2.x) understands, and how its responses are read.

A dialect is a module, such as `wire.v1.calls`, whose functions return calls. A call is one request, and how its
response is read. If an action takes several requests on a line, the function returns a sequence of calls. They are
made in that order, and the last response is the result. All other code uses the dialect and never asks for the version.
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
"""The command that a probe of the event stream sends. The same text in an event shows that the probe came back."""

Hears = Callable[[str], bool]
"""Whether a session, given by its id, has a subscriber."""

Reader = Callable[[bytes, Hears], Iterable[Event]]
"""Turns one frame of the stream into events. It may keep state, so each connection has a reader of its own."""


def _unread(body: Any) -> Any:
    """The response's JSON, unchanged."""
    return body


def _no_next_page(body: Any, headers: Mapping[str, str]) -> None:  # noqa: ARG001 - as `Call.next_page` has it
    return None


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One request, and how its response is read.

    Attributes:
        request: The request.
        parse: Makes the result from the response's JSON. Raises KeyError, TypeError, AttributeError or ValueError if
            the response has another shape.
        next_page: For a list: takes the response's JSON and headers, and returns the cursor of the next page; None on
            the last page.
        none_found: Whether a 404 counts as done, since there was nothing to do. A missing session is still an error.
    """

    request: Request
    parse: Callable[[Any], T_co] = _unread
    next_page: Callable[[Any, Mapping[str, str]], str | None] = _no_next_page
    none_found: bool = False


class Thread(Protocol):
    """Finds the prompt that each stored message answers. The messages are given newest first."""

    def take(self, message: Message, /) -> Iterable[Message]:
        """Add one message. Returns the messages whose prompt is known now, newest first."""


class Dialect(Protocol):
    """The actions of both lines. A function returns None if its line has no such request."""

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
        """Create a session under the caller's id. Sent again, it changes nothing. The first call creates it."""

    def create_unnamed(
        self,
        *,
        directory: str | None,
        title: str | None,
        rules: Sequence[Rule],
        metadata: Json | None,
        parent_id: str | None,
    ) -> Call[SessionInfo]:
        """Create a session under an id that the server chooses. Sent again, it creates another one."""

    def get(self, session_id: str, /) -> Call[SessionInfo]: ...
    def update(
        self, session_id: str, /, *, title: str | None, rules: Iterable[Rule] | None, metadata: Json | None
    ) -> Sequence[Call[SessionInfo]]: ...
    def delete(self, session_id: str, /) -> Call[Any]: ...
    def abort(self, session_id: str, /) -> Call[Any]: ...
    def waiting(self, session_id: str, /) -> Call[frozenset[str]] | None:
        """The ids of prompts that the server accepted and has not begun. None if it begins every prompt at once."""

    def withdraw(self, session_id: str, message_id: str, /) -> Call[Any] | None:
        """Remove a prompt that the server has not begun. Does nothing if there is none."""

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
        """A new `Thread`, for one list of messages."""

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
        """The form of a question, which an answer on this line must name."""

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
        """The server's health. The result is None if the response is not one of this line."""

    def config(self, directory: str | None, /) -> Call[Json] | None: ...
    def file(self, directory: str, path: str, /) -> Call[Json] | None: ...
    def listing(self, directory: str, /) -> Call[Any] | None: ...
    def list_files(self, directory: str | None, path: str, /) -> Call[Mapping[str, str]]: ...
    def read_file(self, directory: str | None, path: str, /) -> Request: ...
    def dispose(self, directory: str, /) -> Call[Any] | None: ...

    # Events.

    def events(self) -> Request: ...
    def probe(self, *, directory: str | None) -> Request | None:
        """Make the server send `PROBE` on its event stream. None if a connected stream misses no event."""

    def reader(self) -> Reader:
        """A new reader of frames, for one connection."""
