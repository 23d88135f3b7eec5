"""Finding the messages that answer a prompt.

These are the messages whose parent is the prompt. But when the server compacts the conversation, it goes on under user
messages of its own: first one with a `compaction` part, whose answer is the summary, and then the parent of the next
answers.

    prompt ← answer, answer …   compaction ← summary   (the server's own) ← answer, answer …
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opencode_sessions.protocol.events import StoredMessage
from opencode_sessions.protocol.values import Message

__all__ = ["Lineage"]


class Lineage:
    """Gets messages in their order, from the prompt on, and tells which of them belong to its answer."""

    def __init__(self, prompt_id: str) -> None:
        self._prompts = {prompt_id}
        self._compactions: set[str] = set()  # those that were seen; an event for each comes again at its end
        self._compaction: str | None = None  # the newest, until the answer goes on
        self._summarised = False

    def part(self, message_id: str, part: Mapping[str, Any]) -> None:
        """Note that the server compacts the conversation, if this part says so."""
        if part.get("type") == "compaction" and part.get("auto") and message_id not in self._compactions:
            self._compactions.add(message_id)
            self._compaction, self._summarised = message_id, False

    def summarises(self, message: StoredMessage) -> bool:
        """Is this the summary of a compaction during the turn?"""
        return message.role == "assistant" and message.parent_id in self._compactions

    def owns(self, message: StoredMessage) -> bool:
        """Does this message belong to the answer? The summary does not, although it shows that the answer goes on."""
        if message.role != "assistant" or message.parent_id is None:
            return False
        if message.parent_id == self._compaction:
            self._summarised = message.completed and message.error is None
            return False
        if message.parent_id not in self._prompts and self._summarised:
            self._prompts.add(message.parent_id)
            self._compaction, self._summarised = None, False
        return message.parent_id in self._prompts

    def exchange(self, messages: Iterable[Message]) -> Iterator[Message]:
        """The messages of the answer, with those that show how it goes on after a compaction."""
        for message in messages:
            for part in message.parts:
                self.part(message.info.id, part)
            compaction = self._compaction
            goes_on = compaction is not None and compaction in (message.info.id, message.info.parent_id)
            if self.owns(message.info) or goes_on:
                yield message
