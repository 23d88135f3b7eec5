"""Who may do what: users, agents and turns. The settings name these functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from chat.models import Conversation, Message
from opencode_sessions import Deadlines, Rule, allow, ask, deny

__all__ = ["again", "may_see", "options_for", "rules_for"]


def rules_for(_conversation: Conversation) -> list[Rule]:
    """The agent reads and thinks as it likes. It asks before it changes a file or runs a command."""
    return [
        allow("*"),
        ask("edit"),
        ask("bash"),
        ask("webfetch"),
        deny("external_directory"),
        deny("read", "*.env"),
    ]


def may_see(request: HttpRequest, message: Message) -> bool:
    """Its owner may see and steer an answer, and nobody else."""
    return request.user.is_authenticated and message.conversation.owner_id == request.user.pk


def options_for(_message: Message) -> Mapping[str, Any]:
    """Of `Turn`."""
    return {"deadlines": Deadlines(total=1800, lease=20)}


def again(message: Message) -> Message:
    """What sends a failed or stopped message's prompt once more."""
    return Message(conversation=message.conversation, prompt=message.prompt, retry_of=message)
