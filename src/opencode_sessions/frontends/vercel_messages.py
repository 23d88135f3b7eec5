"""`ui_messages`: a turn in the form that the Vercel AI SDK has after reading its stream, for a page that is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opencode_sessions.frontends.vercel import VERCEL, made_chunk
from opencode_sessions.live.news import News
from opencode_sessions.live.view import RenderContext, TurnView

__all__ = ["ui_messages"]

Json = Mapping[str, Any]
Part = dict[str, Any]

_STATES = {
    "tool-input-start": "input-streaming",
    "tool-input-available": "input-available",
    "tool-approval-request": "approval-requested",
    "tool-approval-response": "approval-responded",
    "tool-output-available": "output-available",
    "tool-output-error": "output-error",
    "tool-output-denied": "output-denied",
}
_TOLD = ("toolCallId", "toolName", "title", "input", "output", "errorText", "providerExecuted", "preliminary")


def ui_messages(
    name: str, prompt: str, view: TurnView, sent: Iterable[Json] = (), made: Iterable[Json] = ()
) -> list[dict[str, Any]]:
    """The user's message and the assistant's.

    Args:
        name: The turn's name, which is the id of the assistant's message.
        prompt: The prompt's text.
        view: The turn, rendered for `VERCEL`.
        sent: The files that were sent with the prompt, as `opencode_sessions.host.files.told` has them.
        made: Those that the turn has made.
    """
    parts: list[Part] = []
    metadata: dict[str, Any] = {}
    for chunk in _chunks(view):
        if chunk["type"] == "message-metadata":
            metadata |= chunk["messageMetadata"]
        else:
            _take(parts, chunk)
    parts += map(made_chunk, made)
    asked = {
        "id": f"{name}-prompt",
        "role": "user",
        "parts": [{"type": "text", "text": prompt}, *map(_sent, sent)],
    }
    return [asked, {"id": name, "role": "assistant", "metadata": metadata, "parts": parts}]


def _sent(file: Json) -> Part:
    if not file["url"]:
        return {"type": "data-file", "id": file["id"], "data": file}
    return {"type": "file", "mediaType": file["media_type"], "filename": file["name"], "url": file["url"]}


def _chunks(view: TurnView) -> Iterator[dict[str, Any]]:
    said = VERCEL.news(News(view=view, whole=True), RenderContext()).decode()
    return (json.loads(event.removeprefix("data: ")) for event in said.split("\n\n") if event)


def _take(parts: list[Part], chunk: dict[str, Any]) -> None:
    kind, _, what = chunk["type"].partition("-")
    if kind in ("text", "reasoning"):
        if what == "start":
            named = {"id": chunk["id"]} if kind == "reasoning" else {}
            parts.append({"type": kind, **named, "text": "", "state": "streaming"})
        elif what == "delta":
            parts[-1]["text"] += chunk["delta"]
        else:
            parts[-1]["state"] = "done"
        about = {"providerMetadata": chunk["providerMetadata"]} if "providerMetadata" in chunk else {}
        parts[-1].update(about)
    elif kind == "tool":
        _take_call(parts, chunk)
    elif kind in ("file", "data"):
        parts.append(chunk)


def _take_call(parts: list[Part], chunk: dict[str, Any]) -> None:
    found = (part for part in parts if _is_of(part, chunk))
    call = next(found, None)
    if call is None:
        call = {"type": "dynamic-tool"}
        parts.append(call)
    call["state"] = _STATES[chunk["type"]]
    call.update({name: chunk[name] for name in _TOLD if name in chunk})
    match chunk["type"]:
        case "tool-approval-request":
            told = {"descriptor": "approvalDescriptor", "requestReason": "reason"}
            said = {name: chunk[source] for name, source in told.items() if source in chunk}
            call["approval"] = {"id": chunk["approvalId"], **said}
        case "tool-approval-response":
            call["approval"] |= {"approved": chunk["approved"], "reason": chunk["reason"]}


def _is_of(part: Part, chunk: dict[str, Any]) -> bool:
    if "toolCallId" in chunk:
        return "toolCallId" in part and bool(part["toolCallId"] == chunk["toolCallId"])
    return "approval" in part and bool(part["approval"]["id"] == chunk["approvalId"])
