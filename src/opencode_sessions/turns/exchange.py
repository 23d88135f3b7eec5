"""The exchange: the stored messages that one prompt produced.

They are read newest first, so that what is read does not grow with the conversation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

from opencode_sessions.errors import BadRequestError, ConfigurationError, NotFoundError, SessionNotFoundError
from opencode_sessions.protocol.lineage import Lineage
from opencode_sessions.protocol.values import Message
from opencode_sessions.turns.ports import ExchangeWire

__all__ = ["check_directory", "is_newest", "is_stored", "is_unused", "read_exchange", "read_newest_exchange"]

_PAGE = 20


async def check_directory(wire: ExchangeWire, session_id: str) -> None:
    """Refuse to send a prompt again if the server cannot open the session's directory.

    Raises:
        ConfigurationError: The server cannot open the session's directory.
    """
    directory = await wire.unopened_directory(session_id)
    if directory is not None:
        raise ConfigurationError(
            f"session {session_id} works in {directory}, which the server cannot open: make that directory on the "
            "server's machine, readable for the server's user, or name another one in opencode_directory"
        )


async def is_stored(wire: ExchangeWire, session_id: str, prompt_id: str) -> bool:
    """Does the server have the prompt? One request.

    Raises:
        SessionNotFoundError: There is no such session.
    """
    try:
        await wire.message(session_id, prompt_id)
    except SessionNotFoundError:
        raise
    except NotFoundError:
        return False
    except BadRequestError:
        return True  # a stored message with a `format` cannot be read (1.18.33)
    return True


async def is_unused(wire: ExchangeWire, session_id: str) -> bool:
    """Has no prompt been sent to this session? One request."""
    try:
        async for _ in wire.messages(session_id, page_size=1):
            return False
    except BadRequestError:
        return False  # a stored message with a `format` cannot be read (1.18.33)
    return True


async def read_exchange(
    wire: ExchangeWire, session_id: str, prompt_id: str, *, known: int = 0
) -> list[Message]:
    """The messages that answer this prompt, oldest first; none if it has not arrived.

    If the server compacted the conversation during the turn, the messages of the compaction are included. They tell a
    `Reply` that the answer goes on.

    Args:
        wire: The server.
        session_id: The session of the prompt.
        prompt_id: The prompt.
        known: How many of these messages the caller has already. A page then holds those and the prompt, and no
            messages of older turns, which can be large.
    """
    return list(Lineage(prompt_id).exchange(await _later(wire, session_id, prompt_id, known)))


async def read_newest_exchange(wire: ExchangeWire, session_id: str, prompt_id: str) -> list[Message] | None:
    """The messages that answer this prompt, as `read_exchange` returns them.

    None if another prompt came after it, unless the newest message of all is an answer to this one.
    """
    later = await _later(wire, session_id, prompt_id)
    newest = _holds_no_prompt(later) or later[-1].info.parent_id == prompt_id
    return list(Lineage(prompt_id).exchange(later)) if newest else None


async def is_newest(wire: ExchangeWire, session_id: str, prompt_id: str) -> bool:
    """Is this the session's newest prompt? Prompts that the server adds to compact the session do not count."""
    return _holds_no_prompt(await _later(wire, session_id, prompt_id))


def _holds_no_prompt(later: Iterable[Message]) -> bool:
    compacting = False
    for message in later:
        if message.info.role == "user":
            own, compacting = compacting, any(part.get("type") == "compaction" for part in message.parts)
            if not (own or compacting):
                return False
    return True


async def _later(wire: ExchangeWire, session_id: str, prompt_id: str, known: int = 0) -> list[Message]:
    """The messages after the prompt, oldest first."""
    page = known + 1 if known else _PAGE
    try:
        later = [message async for message in _after(prompt_id, wire.messages(session_id, page_size=page))]
    except BadRequestError:
        later = await _one_by_one(wire, session_id, prompt_id)
    return later[::-1]


async def _after(prompt_id: str, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for message in messages:
        if message.info.id == prompt_id:
            return
        yield message


async def _one_by_one(wire: ExchangeWire, session_id: str, prompt_id: str) -> list[Message]:
    """Read one message a page: a page that contains a prompt with a `format` cannot be read (1.18.33)."""
    later: list[Message] = []
    with suppress(BadRequestError):
        async for message in _after(prompt_id, wire.messages(session_id, page_size=1)):
            later.append(message)  # noqa: PERF401 - keeps the messages that were read before an error
    return later
