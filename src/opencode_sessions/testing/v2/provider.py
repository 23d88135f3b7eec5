"""Asks the model: chat completions over HTTP, read as they stream in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2

from opencode_sessions.wire.unreachable import trusted

__all__ = ["CallBegun", "CallInput", "Finished", "ProviderError", "Reasoning", "Text", "ask", "complete"]

Json = dict[str, Any]

_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool-calls", "content_filter": "content-filter"}
_KINDS = {
    HTTPStatus.TOO_MANY_REQUESTS: "provider.rate-limit",
    HTTPStatus.UNAUTHORIZED: "provider.auth",
    HTTPStatus.FORBIDDEN: "provider.auth",
    HTTPStatus.PAYMENT_REQUIRED: "provider.quota",
}
_TIMEOUT = httpx2.Timeout(300.0, connect=10.0)


@dataclass(frozen=True, slots=True)
class Text:
    """More of what the model says."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """More of what the model thinks aloud."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The model begins to call a tool."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallInput:
    """More of the JSON that a tool is called with."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The model has ended its answer."""

    reason: str
    tokens: Json


class ProviderError(Exception):
    """The model did not answer, or not to the end.

    Attributes:
        kind: The type of the error.
        status: The HTTP status, if there was an answer.
        retry_after: Seconds that the provider asks to wait.
        repeatable: Whether it is worth another try.
        broken_off: Whether the answer had begun.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int | None = None,
        retry_after: float | None = None,
        repeatable: bool = True,
        broken_off: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.repeatable = repeatable
        self.broken_off = broken_off

    def as_json(self) -> Json:
        """The error as events carry it."""
        error: Json = {"type": self.kind, "message": str(self)}
        if self.status is not None:
            error["status"] = self.status
        return error


Piece = Text | Reasoning | CallBegun | CallInput | Finished


async def ask(
    base_url: str, model: str, messages: list[Json], tools: list[str], *, session_id: str
) -> AsyncIterator[Piece]:
    """Ask a model, and yield its answer bit by bit; `Finished` comes last.

    Raises:
        ProviderError: It did not answer, or not to the end.
    """
    body: Json = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if tools:
        body["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
            for name in tools
        ]
    begun = False
    finish, usage = None, None
    try:
        async with (
            httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False, verify=trusted(base_url)) as client,
            client.stream(
                "POST", f"{base_url}/chat/completions", json=body, headers={"x-session-affinity": session_id}
            ) as response,
        ):
            if response.status_code != HTTPStatus.OK:
                raise _refusal(response, await response.aread())
            begun = True
            async for line in response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                usage = chunk.get("usage") or usage
                for choice in chunk.get("choices") or ():
                    finish = choice.get("finish_reason") or finish
                    for piece in _pieces(choice.get("delta") or {}):
                        yield piece
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ProviderError(message, kind="provider.transport", broken_off=begun) from error
    reason = _FINISH.get(finish or "")
    if reason is None:
        raise ProviderError(
            "The provider response ended with an unknown finish reason.",
            kind="provider.invalid-output",
            broken_off=True,
        )
    yield Finished(reason, _tokens(usage or {}))


async def complete(base_url: str, model: str, prompt: str) -> tuple[str, Json]:
    """Ask a model one thing. Returns its whole answer and the tokens that it took.

    Raises:
        ProviderError: It did not answer.
    """
    words: list[str] = []
    tokens: Json = {}
    async for piece in ask(base_url, model, [{"role": "user", "content": prompt}], [], session_id=""):
        if isinstance(piece, Text):
            words.append(piece.text)
        elif isinstance(piece, Finished):
            tokens = piece.tokens
    return "".join(words), tokens


def _pieces(delta: Json) -> list[Piece]:
    pieces: list[Piece] = []
    if delta.get("reasoning_content"):
        pieces.append(Reasoning(delta["reasoning_content"]))
    if delta.get("content"):
        pieces.append(Text(delta["content"]))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        if call.get("id"):
            pieces.append(CallBegun(call["id"], function["name"]))
        if function.get("arguments"):
            pieces.append(CallInput(function["arguments"]))
    return pieces


def _refusal(response: httpx2.Response, body: bytes) -> ProviderError:
    status = response.status_code
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")
    after = response.headers.get("retry-after", "")
    internal = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = _KINDS.get(HTTPStatus(status), "provider.internal" if internal else "provider.invalid-request")
    return ProviderError(
        message,
        kind=kind,
        status=status,
        retry_after=float(after) if after.replace(".", "", 1).isdecimal() else None,
        repeatable=internal or status == HTTPStatus.TOO_MANY_REQUESTS,
    )


def _tokens(usage: Json) -> Json:
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    return {
        "input": usage.get("prompt_tokens", 0),
        "output": usage.get("completion_tokens", 0) - reasoning,
        "reasoning": reasoning,
        "cache": {"read": 0, "write": 0},
    }
