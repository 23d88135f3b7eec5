"""How a turn ended: what its row is told, and what its caller gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opencode_sessions.errors import OpencodeError
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.protocol.storable import storable
from opencode_sessions.store.messages import MessageState, TurnStatus

__all__ = ["TurnResult", "outcome", "snapshot"]

_ABORTED = "MessageAbortedError"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """A turn that has ended, as its row has it.

    Attributes:
        status: `completed`, `cancelled` or `failed`.
        content: The answer's text.
        parts: The answer's parts, JSON-safe: text, reasoning, tool calls, and others.
        error: Why it failed, as `{"name", "message", …}`.
        cost: In the currency of the provider's price list (US dollars).
        session_id: Where the prompt went; None for a turn that had ended before this call.
        just_created: The session was made for this turn.
        duration: Seconds from the prompt to the end; None for a turn that had ended before this call.
        first_token: Seconds from the prompt to the first text, thought or tool call, if there was one.
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
    duration: float | None = None
    first_token: float | None = None

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """The tool calls among the parts."""
        return [part for part in self.parts if part.get("type") == "tool"]

    @classmethod
    def of(cls, state: MessageState, **more: Any) -> TurnResult:
        """What a row says."""
        return cls(
            status=state.status,
            content=state.content,
            parts=list(state.parts),
            error=state.error,
            cost=state.cost,
            input_tokens=state.input_tokens,
            output_tokens=state.output_tokens,
            prompt_id=state.prompt_id,
            **more,
        )


def snapshot(reply: Reply, prompt: str, status: TurnStatus = TurnStatus.STREAMING) -> MessageState:
    """The answer so far, for the row."""
    tokens = reply.tokens
    return MessageState(
        prompt=prompt,
        status=status,
        prompt_id=reply.prompt_id,
        content=storable(reply.text),
        parts=storable(reply.to_json()),
        error=storable(reply.error) if status is TurnStatus.FAILED else None,
        cost=reply.cost,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
    )


def outcome(reply: Reply, prompt: str, failure: OpencodeError | None = None) -> MessageState:
    """The terminal state of a turn whose events are over, or that failed on our side."""
    if reply.error is not None:
        cancelled = reply.error.get("name") == _ABORTED
    else:
        # An abort while the server waits to try a provider again leaves no error, and no finish (1.18.33).
        cancelled = (
            failure is None and reply.last is not None and reply.last.completed and not reply.last.finish
        )
    if cancelled:
        return snapshot(reply, prompt, TurnStatus.CANCELLED)
    if failure is not None:
        reply.error = {"name": type(failure).__name__, "message": str(failure)}
    elif reply.error is None and not reply.final:
        reply.error = _unfinished(reply)
    return snapshot(reply, prompt, TurnStatus.FAILED if reply.error is not None else TurnStatus.COMPLETED)


def _unfinished(reply: Reply) -> dict[str, str]:
    """Why an answer is over and not final, as far as what is stored tells."""
    if reply.last is None:
        return {"name": "NoAnswer", "message": "the session went idle without answering the prompt"}
    if reply.last.completed:
        said = "the session stopped after a tool call: was a permission or a question rejected?"
        return {"name": "Stopped", "message": said}
    return {"name": "Abandoned", "message": "the server stopped in the middle of the answer"}
