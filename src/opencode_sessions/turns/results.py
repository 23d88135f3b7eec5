"""The end of a turn: the state that its row stores, and the result that its caller gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from opencode_sessions.errors import ConfigurationError, OpencodeError, TurnTimeoutError
from opencode_sessions.protocol.events import StoredMessage
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.protocol.storable import storable
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.validation import not_awaitable

__all__ = ["Fallback", "TurnResult", "outcome", "said_of", "snapshot", "was_aborted", "was_rejected"]

Fallback: TypeAlias = str | Callable[[Mapping[str, Any]], str] | None
"""The `content` of a turn that fails before it produces any: a text, or a function of the error."""

_ABORTED = "MessageAbortedError"

# A tool's error begins with one of these if a person refused the tool, or dismissed its question (1.18.33).
_REJECTIONS = ("The user rejected permission", "The user dismissed this question")
_WHOLE = "stop"
_MOST_TOKENS = 2**31 - 1  # an integer column holds no more
_FEEDBACK = "with the following feedback"  # the agent reads it, and goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """A turn that has ended, as its row stores it.

    Attributes:
        status: `completed`, `cancelled` or `failed`.
        content: The answer's text.
        parts: The answer's parts, JSON-safe: text, reasoning, tool calls, and others.
        error: Why it failed or was cancelled, as `{"name", "message", …}`: see docs/turns.md.
        cost: In the currency of the provider's price list (US dollars).
        session_id: The session that got the prompt.
        just_created: True if the session was created for this turn.
        structured: The data of a structured answer, which fits the schema of the turn.
        duration: Seconds from the start of this run to the end of the turn; None if it had ended before this call.
        first_token: Seconds from the prompt to the first text, thought or tool call; None without one.
        steps: The model's messages: one for each request to the model, with its model, tokens and cost. Empty if the
            turn had ended before this call.
    """

    status: TurnStatus
    content: str
    parts: list[Mapping[str, Any]]
    error: Mapping[str, Any] | None
    cost: float
    input_tokens: int
    output_tokens: int
    prompt_id: str | None
    session_id: str | None = None
    just_created: bool = False
    structured: Any = None
    duration: float | None = None
    first_token: float | None = None
    steps: Sequence[StoredMessage] = field(default=(), repr=False)
    make: Callable[[Any], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def value(self) -> Any:
        """The structured answer as an instance of the `schema`'s class.

        Raises:
            pydantic.ValidationError: The data does not fit the class.
        """
        return self.make(self.structured) if self.make is not None and self.structured is not None else None

    @property
    def finish(self) -> str | None:
        """Why the model stopped; None if the turn is not completed.

        `stop` after a whole answer, `length` if the answer is cut off, or another word of the provider.
        """
        if self.status is not TurnStatus.COMPLETED:
            return None
        return next((str(part["reason"]) for part in self.parts if part.get("type") == "finish"), _WHOLE)

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """The tool calls among the parts."""
        return [part for part in self.parts if part.get("type") == "tool"]

    @classmethod
    def of(cls, state: MessageState, **more: Any) -> TurnResult:
        """The result in a row that has ended."""
        return cls(
            status=state.status,
            content=state.content,
            parts=list(state.parts),
            error=state.error,
            cost=state.cost,
            input_tokens=state.input_tokens,
            output_tokens=state.output_tokens,
            prompt_id=state.prompt_id,
            session_id=state.session_id,
            structured=_structured(state),
            **more,
        )


def snapshot(reply: Reply, seen: MessageState, status: TurnStatus = TurnStatus.STREAMING) -> MessageState:
    """The row with the answer so far, and the next revision. A reply without any message leaves the row's answer."""
    so_far = replace(
        seen,
        status=status,
        session_id=reply.session_id,
        prompt_id=reply.prompt_id,
        asks=(),
        error=storable(reply.error) if status is TurnStatus.FAILED else None,
        revision=seen.revision + 1,
    )
    if not reply.messages:
        return so_far
    tokens = reply.tokens
    return replace(
        so_far,
        content=storable(reply.text),
        parts=storable(_parts(reply)),
        cost=reply.cost,
        input_tokens=_storable_tokens(tokens.input),
        output_tokens=_storable_tokens(tokens.output),
    )


def _storable_tokens(count: int) -> int:
    """A provider may count what it likes, and the answer must be stored all the same."""
    return max(0, min(count, _MOST_TOKENS))


def outcome(
    reply: Reply,
    seen: MessageState,
    failure: OpencodeError | None = None,
    *,
    fallback: Callable[[Mapping[str, Any]], str] | None = None,
) -> MessageState:
    """The terminal state of a turn that the server has ended, or that failed on our side."""
    if failure is None and was_aborted(reply):
        aborted = {"name": "Cancelled", "by": "server", "message": "the session was aborted on the server"}
        return replace(snapshot(reply, seen, TurnStatus.CANCELLED), error=aborted)
    reply.error = _why(reply, failure)
    if reply.error is None:
        return snapshot(reply, seen, TurnStatus.COMPLETED)
    end = snapshot(reply, seen, TurnStatus.FAILED)
    return end if fallback is None or end.content else replace(end, content=storable(fallback(reply.error)))


def said_of(error: Mapping[str, Any], fallback: Fallback) -> str:
    """The host's text for an error. An error of the host's function is raised as it is.

    Raises:
        ConfigurationError: The function returned no text.
    """
    said = not_awaitable("fallback", fallback(error)) if callable(fallback) else fallback or ""
    if not isinstance(said, str):
        raise ConfigurationError(f"the fallback of a turn must be a text, not {said!r}")
    return said


def was_rejected(reply: Reply) -> bool:
    """Did the agent stop because a person refused an ask of its last message without a message?"""
    last = reply.last
    errors = [part.error or "" for part in reply.tools if last is not None and part.message_id == last.id]
    return any(error.startswith(_REJECTIONS) and _FEEDBACK not in error for error in errors)


def was_aborted(reply: Reply) -> bool:
    """Was the session aborted on the server?"""
    if reply.error is not None:
        return reply.error.get("name") == _ABORTED
    # An abort while the server waits before it retries a provider leaves no error, and no finish (1.18.33).
    return reply.last is not None and reply.last.completed and not reply.last.finish


def _why(reply: Reply, failure: OpencodeError | None) -> Mapping[str, Any] | None:
    if failure is not None:
        why = {"name": type(failure).__name__, "message": str(failure)}
        return why | {"seconds": failure.seconds} if isinstance(failure, TurnTimeoutError) else why
    if reply.error is not None:
        return reply.error
    if reply.final:
        empty = not reply.text and not reply.tools and reply.structured is None
        return {"name": "EmptyAnswer", "message": "the model answered nothing"} if empty else None
    if reply.last is None:
        return {"name": "NoAnswer", "message": "the session went idle without answering the prompt"}
    if reply.last.completed:
        said = "the agent stopped after a tool call: a permission or a question was rejected"
        return {"name": "Stopped", "message": said}
    return {"name": "Abandoned", "message": "the server stopped in the middle of the answer"}


def _parts(reply: Reply) -> list[dict[str, Any]]:
    parts = reply.to_json()
    if reply.structured is not None:
        parts.append({"type": "structured", "data": reply.structured})
    elif reply.final and reply.error is None and reply.last is not None and reply.last.finish != _WHOLE:
        parts.append({"type": "finish", "reason": reply.last.finish})
    return parts


def _structured(state: MessageState) -> Any:
    return next((part["data"] for part in state.parts if part.get("type") == "structured"), None)
