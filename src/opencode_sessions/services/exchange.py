"""The exchange: the stored messages that one prompt produced.

They are read newest first, so that what is read does not grow with the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opencode_sessions.errors import NotFoundError, SessionNotFoundError
from opencode_sessions.protocol.values import Message
from opencode_sessions.services.ports import ExchangeWire

__all__ = ["is_newest", "is_stored", "read_exchange"]

_PAGE = 20


async def is_stored(wire: ExchangeWire, session_id: str, prompt_id: str) -> bool:
    """Has the prompt arrived? One request.

    Raises:
        SessionNotFoundError: There is no such session.
    """
    try:
        await wire.message(session_id, prompt_id)
    except SessionNotFoundError:
        raise
    except NotFoundError:
        return False
    return True


async def read_exchange(wire: ExchangeWire, session_id: str, prompt_id: str) -> list[Message]:
    """The assistant's messages that answer this prompt, oldest first; none if it has not arrived."""
    later = await _since(wire, session_id, prompt_id)
    own = _own_prompts(later, prompt_id)
    return [
        replace(message, info=replace(message.info, parent_id=prompt_id))
        for message in later
        if message.info.role != "user" and message.info.parent_id in own
    ]


async def is_newest(wire: ExchangeWire, session_id: str, prompt_id: str) -> bool:
    """Is a prompt that has arrived still the newest one in its session?"""
    later = await _since(wire, session_id, prompt_id)
    own = _own_prompts(later, prompt_id)
    return all(message.info.id in own for message in later if message.info.role == "user")


async def _since(wire: ExchangeWire, session_id: str, prompt_id: str) -> list[Message]:
    """What came after the prompt, oldest first."""
    later: list[Message] = []
    async for message in wire.messages(session_id, page_size=_PAGE):
        if message.info.id == prompt_id:
            break
        later.append(message)
    return later[::-1]


def _own_prompts(later: Sequence[Message], prompt_id: str) -> set[str]:
    """When the server compacts the conversation by itself, it goes on under user messages of its own."""
    own, compacted = {prompt_id}, False
    for message in later:
        if message.info.role == "user":
            compacting = any(part.get("type") == "compaction" and part.get("auto") for part in message.parts)
            if compacted:
                own.add(message.info.id)
            compacted = compacting
    return own
