"""A session's messages in the words of the chat-completions API, and scripts' calls in those of the 2.x line."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["chat_messages", "translated"]

Json = dict[str, Any]

_TOOLS = {"bash": "shell", "task": "subagent"}
_ARGUMENTS = {"filePath": "path", "subagent_type": "agent"}


def translated(name: str, arguments: str) -> tuple[str, str]:
    """A tool call as the 2.x line has it. So a script that was written for a 1.x server works here, too."""
    try:
        values = json.loads(arguments or "{}")
    except ValueError:
        return _TOOLS.get(name, name), arguments
    if not isinstance(values, dict):
        return _TOOLS.get(name, name), arguments
    renamed = {_ARGUMENTS.get(key, key): value for key, value in values.items()}
    return _TOOLS.get(name, name), json.dumps(renamed, ensure_ascii=False)


def chat_messages(system: str, messages: list[Json]) -> list[Json]:
    """What the model is sent.

    Messages that the server adds by itself go as system messages, so that the last user message of a script stays
    the one that the user wrote.

    Args:
        system: What the model is told first.
        messages: The session's messages, oldest first.
    """
    chat: list[Json] = [{"role": "system", "content": system}]
    for message in messages:
        match message["type"]:
            case "user":
                chat.append({"role": "user", "content": _user_text(message)})
            case "synthetic" | "system":
                chat.append({"role": "system", "content": message["text"]})
            case "assistant":
                chat += _assistant(message)
    return chat


def _user_text(message: Json) -> str:
    files = [
        f"[file {file.get('name') or file['source'].get('uri', 'inline')}]"
        for file in message.get("files", ())
    ]
    return "\n".join([str(message["text"]), *files])


def _assistant(message: Json) -> list[Json]:
    text = "".join(part["text"] for part in message["content"] if part["type"] == "text")
    calls = [
        part
        for part in message["content"]
        if part["type"] == "tool" and part["state"]["status"] != "streaming"
    ]
    if not text and not calls:
        return []
    said: Json = {"role": "assistant", "content": text or None}
    if calls:
        said["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["state"]["input"])},
            }
            for call in calls
        ]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": _result(call["state"])} for call in calls
    ]
    return [said, *results]


def _result(state: Json) -> str:
    if state["status"] == "error":
        return str(state["error"]["message"])
    return "\n".join(one["text"] for one in state.get("content", ()) if one["type"] == "text")
