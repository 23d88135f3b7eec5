"""A step in the form of the chat-completions API: deltas, chunks, a whole completion, usage. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from opencode_sessions.testing.model.request import ModelRequest, text_of
from opencode_sessions.testing.model.script import Step

__all__ = ["chunk", "completion", "deltas", "error_body", "finish_reason", "usage"]

# A word with the white space after it: joined, the words are the text again.
_WORD = re.compile(r"\s*\S+\s*|\s+")


def deltas(step: Step, request: ModelRequest) -> Iterator[dict[str, Any]]:
    """The answer in pieces: reasoning and text word by word, then the tool calls."""
    for word in _WORD.findall(step.reason):
        yield {"reasoning_content": word}
    for word in _WORD.findall(step.say or ""):
        yield {"content": word}
    for call in _tool_calls(step, request):
        yield {"tool_calls": [call]}


def chunk(
    request: ModelRequest,
    delta: dict[str, Any],
    *,
    finish: str | None = None,
    tokens: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One event of a streamed answer; the last one has the reason why it ends and the usage."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {**_envelope(request, "chat.completion.chunk"), "choices": [choice]}
    return {**body, "usage": tokens} if tokens else body


def completion(step: Step, request: ModelRequest) -> dict[str, Any]:
    """The whole answer to a request that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": step.say}
    if step.reason:
        message["reasoning_content"] = step.reason
    if step.calls:
        message["tool_calls"] = _tool_calls(step, request)
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(step)}
    return {**_envelope(request, "chat.completion"), "choices": [choice], "usage": usage(step, request)}


def finish_reason(step: Step) -> str | None:
    """The reason why the answer ends."""
    return ("tool_calls" if step.calls else "stop") if step.finish is None else step.finish or None


def usage(step: Step, request: ModelRequest) -> dict[str, Any]:
    """The usage; each word counts as one token."""
    asked = sum(_words(text_of(message)) for message in request.messages)
    thought = _words(step.reason)
    called = sum(1 + _words(json.dumps(dict(call.arguments))) for call in step.calls)
    answered = thought + _words(step.say or "") + called
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def error_body(message: str, *, kind: str) -> dict[str, Any]:
    """The provider's error."""
    return {"error": {"message": message, "type": kind, "code": kind}}


def _envelope(request: ModelRequest, kind: str) -> dict[str, Any]:
    return {"id": "scripted", "object": kind, "created": 0, "model": request.model}


def _tool_calls(step: Step, request: ModelRequest) -> list[dict[str, Any]]:
    # The ids follow from the place in the conversation, so that a repeated request gets the same, and no other does.
    turn, done = len(request.prompts), len(request.tool_results)
    return [
        {
            "index": index,
            "id": f"call_{turn}_{done + index}",
            "type": "function",
            "function": {"name": call.tool, "arguments": json.dumps(dict(call.arguments))},
        }
        for index, call in enumerate(step.calls)
    ]


def _words(text: str) -> int:
    return len(text.split())
