"""A chat-completions request to the model, read once and never changed.

Everything that a rule can use is derived from the messages. So the same request always gets the same answer, also after
a restart of the model or the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MAIN_MODEL", "SMALL_MODEL", "ModelRequest", "ToolResult"]

MAIN_MODEL = "main"
SMALL_MODEL = "small"

# OpenCode sends a tool's attachments, such as an image, in a message with the role "user".
_ATTACHED = "Attached media from tool result:"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one tool call."""

    name: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request to the model.

    Attributes:
        model: The model's id, without its provider.
        messages: The conversation as it was sent: system, user, assistant and tool messages.
        tools: The names of the tools that the model may call.
        stream: Whether the answer must be streamed.
        session: The OpenCode session that asks, if the client names it in a header.
    """

    model: str
    messages: tuple[Json, ...]
    tools: tuple[str, ...] = ()
    stream: bool = False
    session: str | None = None

    @classmethod
    def from_body(cls, body: Json, *, session: str | None = None) -> ModelRequest:
        """Read the JSON body of `POST /chat/completions`.

        Args:
            body: The decoded body.
            session: The OpenCode session that asks, if it is known.

        Raises:
            KeyError, TypeError, AttributeError: The body has another shape.
        """
        return cls(
            model=body["model"],
            messages=tuple(body["messages"]),
            tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
            stream=bool(body.get("stream")),
            session=session,
        )

    @property
    def is_title(self) -> bool:
        """Whether the small model is asked, which OpenCode uses for titles, outside of any turn."""
        return self.model == SMALL_MODEL

    @property
    def prompts(self) -> tuple[str, ...]:
        """The user's texts so far, oldest first."""
        return tuple(text_of(message) for message in self.messages if _is_prompt(message))

    @property
    def prompt(self) -> str:
        """The user's last text; empty without one."""
        return self.prompts[-1] if self.prompts else ""

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The results of the tools that ran since the user's last message, in order."""
        names: dict[str, str] = {}
        results: list[ToolResult] = []
        for message in self.messages:
            if _is_prompt(message):
                results = []
            for call in message.get("tool_calls") or ():
                names[call["id"]] = call["function"]["name"]
            if message["role"] == "tool":
                name = names.get(message["tool_call_id"], "tool")
                results.append(ToolResult(name, text_of(message)))
        return tuple(results)

    @property
    def place(self) -> tuple[str | None, tuple[str, ...], int]:
        """The place in the conversation: equal for two requests of the same step.

        The assistant's texts do not count, because an interrupted answer may be included or not.
        """
        return self.session, self.prompts, len(self.tool_results)


def text_of(message: Json) -> str:
    """The text of a message, whose content may be a string, a list of parts or nothing."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def _is_prompt(message: Json) -> bool:
    return bool(message["role"] == "user") and not text_of(message).startswith(_ATTACHED)
