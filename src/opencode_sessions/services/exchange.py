"""The exchange: the stored messages that one prompt produced.

They are read newest first, so that what is read does not grow with the conversation.
"""

from __future__ import annotations

from opencode_sessions.protocol.values import Message
from opencode_sessions.services.ports import ExchangeWire

__all__ = ["read_exchange"]

_PAGE = 20


async def read_exchange(wire: ExchangeWire, session_id: str, prompt_id: str) -> list[Message]:
    """The assistant's messages that answer this prompt, oldest first; none if it has not arrived."""
    answers: list[Message] = []
    async for message in wire.messages(session_id, page_size=_PAGE):
        if message.info.id == prompt_id:
            break
        if message.info.parent_id == prompt_id:
            answers.append(message)
    answers.reverse()
    return answers
