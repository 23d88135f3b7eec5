"""The exchange: the stored messages that one prompt produced.

They are read newest first, so that what is read does not grow with the conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from opencode_sessions.protocol.values import Message
from opencode_sessions.services.ports import ExchangeWire

__all__ = ["read_exchange"]

_PAGE = 20


async def read_exchange(wire: ExchangeWire, session_id: str, prompt_id: str) -> list[Message]:
    """The assistant's messages that answer this prompt, oldest first; none if it has not arrived."""
    later: list[Message] = []
    async for message in wire.messages(session_id, page_size=_PAGE):
        if message.info.id == prompt_id:
            break
        later.append(message)
    return list(_own(reversed(later), prompt_id))


def _own(later: Iterable[Message], prompt_id: str) -> Iterator[Message]:
    """When the server compacts the conversation by itself, it goes on under a user message of its own."""
    prompts, compacted = {prompt_id}, False
    for message in later:
        if message.info.role == "user":
            if compacted:
                prompts.add(message.info.id)
            compacted = any(part.get("type") == "compaction" and part.get("auto") for part in message.parts)
        elif message.info.parent_id in prompts:
            yield replace(message, info=replace(message.info, parent_id=prompt_id))
