"""A conversation branches where a prompt of it is sent in other words."""

from __future__ import annotations

import uuid

from django.db import transaction

from chat.models import Conversation, Message
from opencode_sessions.django import client, enqueue, session_for
from opencode_sessions.django.views import RETRIED_AS
from opencode_sessions.errors import SessionNotFoundError

__all__ = ["branch"]


def branch(message: Message, prompt: str, key: uuid.UUID) -> Message:
    """Send another prompt in a message's place, in a new conversation that shares all that came before it.

    Args:
        message: Whose prompt it takes the place of. Its own conversation stays as it is.
        prompt: What is asked instead.
        key: See `Message.key`.

    Returns:
        The new conversation's newest message, whose turn is going to be run.

    Raises:
        OpencodeError: The session could not be copied; nothing has come of it.
    """
    source = message.conversation
    earlier = list(source.messages.filter(pk__lt=message.pk))
    title = source.title if earlier else Conversation.title_for(prompt)
    made = Conversation.objects.create(owner_id=source.owner_id, title=title, branched_from=source)
    try:
        if earlier:
            _share_session(message, made)
        with transaction.atomic():
            copies: dict[int, Message] = {}
            for each in earlier:
                if each.is_over:
                    copies[each.pk] = _copy(each, made, copies)
            sent = made.messages.create(prompt=prompt, key=key)
            enqueue(sent)
    except Exception:
        made.delete()
        raise
    return sent


def _share_session(message: Message, made: Conversation) -> None:
    source = message.opencode_prompt_session_id or message.conversation.opencode_session_id
    if source is None:
        return  # nothing was ever said to the agent
    try:
        session_for(made).fork(client(), source, before=message.opencode_prompt_id)
    except SessionNotFoundError:
        return  # the agent has forgotten it: the turn makes a fresh session, and the rows still tell


def _copy(message: Message, conversation: Conversation, copies: dict[int, Message]) -> Message:
    """What was said. What it cost, the other conversation has paid."""
    return Message.objects.create(
        conversation=conversation,
        retry_of=copies.get(message.retry_of_id),
        prompt=message.prompt,
        status=message.status,
        content=message.content,
        parts=message.parts,
        error=message.error and {name: said for name, said in message.error.items() if name != RETRIED_AS},
        created_at=message.created_at,
        started_at=message.started_at,
        finished_at=message.finished_at,
    )
