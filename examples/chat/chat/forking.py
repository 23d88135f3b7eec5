"""A conversation branches where a prompt of it is sent in other words."""

from __future__ import annotations

import shutil
import uuid
from contextlib import ExitStack, suppress

from django.db import transaction

from chat.files import UPLOADS
from chat.models import Conversation, Message
from chat.sandbox import SANDBOX
from opencode_sessions.django import client, enqueue, session_for
from opencode_sessions.django.views import RETRIED_AS
from opencode_sessions.errors import SessionNotFoundError
from opencode_sessions.files.uploads import Upload

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
    shared = [each for each in source.messages.filter(pk__lt=message.pk) if each.is_over]
    made = Conversation.objects.create(
        owner_id=source.owner_id, title=Conversation.title_for(prompt), branched_from=source
    )
    try:
        _share_folder(source, made)
        prompts = _share_session(message, shared, made) if shared else {}
        with transaction.atomic():
            copies: dict[int, Message] = {}
            for each in shared:
                copies[each.pk] = _copy(each, made, copies, prompts)
            sent = made.messages.create(prompt=prompt, key=key, opencode_uploads=_uploads(message, made))
            enqueue(sent)
    except Exception:
        made.delete()
        raise
    return sent


def _share_folder(source: Conversation, made: Conversation) -> None:
    """Give a branch the files as they are by now. Links stay links, and no pipe is copied."""
    if not SANDBOX:
        return
    with suppress(shutil.Error):  # all else was copied
        shutil.copytree(SANDBOX.create(source), SANDBOX.create(made), symlinks=True, dirs_exist_ok=True)


def _share_session(message: Message, shared: list[Message], made: Conversation) -> dict[str, str]:
    """Give a branch a session that knows what was said in the messages that it shares, and nothing else.

    Returns:
        What the ids of their prompts are in that session. The server gives a copy's messages new ids, in the same
        order; with them a branch can be branched, too, whatever becomes of the conversation that it came from.
    """
    source = message.opencode_prompt_session_id or message.conversation.opencode_session_id
    if source is None:
        return {}  # nothing was ever said to the agent
    left_out = message.conversation.messages.exclude(pk__in=[each.pk for each in shared])
    if left_out.filter(opencode_prompt_id=None).exclude(parts=[]).exists():
        return {}  # it was answered, and nobody knows where: better that the agent knows too little than too much
    hidden = set(left_out.values_list("opencode_prompt_id", flat=True))
    try:
        said = _prompts_in(source)
        # Not simply the message's own: it may have failed before it was sent, and before an id that it does not have
        # the server copies all (1.18.33).
        before = next((prompt for prompt in said if prompt in hidden), None)
        copy = session_for(made).fork(client(), source, before=before)
    except SessionNotFoundError:
        return {}  # the agent has forgotten it: the turn makes a fresh session, and the rows still tell
    return dict(zip(said, _prompts_in(copy), strict=False))  # it ends where it was cut


def _prompts_in(session_id: str) -> list[str]:
    """Their ids, oldest first."""
    found = [each.info.id for each in client().messages(session_id) if each.info.role == "user"]
    return found[::-1]


def _uploads(message: Message, made: Conversation) -> list[Upload]:
    """Copies of the files that were sent with a message: they go with their own conversation."""
    with ExitStack() as opened:
        files = [
            (each["name"], opened.enter_context(UPLOADS.open(each))) for each in message.opencode_uploads
        ]
        return UPLOADS.save(made, files)


def _copy(
    message: Message, conversation: Conversation, copies: dict[int, Message], prompts: dict[str, str]
) -> Message:
    """What was said. What it cost, the other conversation has paid."""
    prompt_id = prompts.get(message.opencode_prompt_id or "")
    return Message.objects.create(
        conversation=conversation,
        retry_of=copies.get(message.retry_of_id),
        prompt=message.prompt,
        opencode_uploads=_uploads(message, conversation),
        opencode_prompt_id=prompt_id,
        opencode_prompt_session_id=prompt_id and conversation.opencode_session_id,
        status=message.status,
        content=message.content,
        parts=message.parts,
        error=message.error and {name: said for name, said in message.error.items() if name != RETRIED_AS},
        created_at=message.created_at,
        started_at=message.started_at,
        finished_at=message.finished_at,
    )
