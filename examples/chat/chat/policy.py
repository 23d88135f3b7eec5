"""Who may do what: users, agents and turns. The settings name these functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from chat.models import Conversation, Message
from opencode_sessions import ASK_FIRST, Deadlines, Rule

__all__ = ["again", "may_see", "options_for", "rules_for"]


def rules_for(_conversation: Conversation) -> Sequence[Rule]:
    """The agent reads as it likes. It asks before it changes a file or runs a command.

    The demo's own server has these rules in its configuration, for every agent, and allows sub-agents. On any other
    server they are the session's, and there are no sub-agents, as those would not ask (OpenCode 1.18.33).
    """
    return () if settings.CHAT_SERVER_HAS_RULES else ASK_FIRST


def may_see(request: HttpRequest, message: Message) -> bool:
    """Its owner may see and steer an answer, and nobody else."""
    return request.user.is_authenticated and message.conversation.owner_id == request.user.pk


def options_for(_message: Message) -> Mapping[str, Any]:
    """Of `Turn`."""
    return {"deadlines": Deadlines(total=1800, lease=20)}


def again(message: Message) -> Message:
    """What sends a failed or stopped message's prompt once more."""
    return Message(conversation=message.conversation, prompt=message.prompt, retry_of=message)
