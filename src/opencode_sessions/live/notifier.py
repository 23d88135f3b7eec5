"""`Notifier`: the port of a service that carries notes between processes. It may lose, repeat and reorder them.

The row is the source of truth, and slow polling finds changes whose notes were lost. So an implementation stores
nothing, confirms nothing, and raises when its connection breaks. The `Relay` then opens another one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Arrived", "Notifier", "Receiver", "Sender"]


class Arrived(NamedTuple):
    """A note that arrived.

    Attributes:
        topic: The note's topic.
        told: The note; None: from now on notes of this topic arrive. That comes again if some may have been lost.
    """

    topic: str
    told: str | None


class Sender(Protocol):
    """A connection that sends. Used by one task or thread."""

    async def open(self) -> None:
        """Connect."""

    async def send(self, told: Sequence[tuple[str, str]]) -> None:
        """Send, in order, in one request.

        Args:
            told: Each with its topic, both ASCII; at most 7,500 bytes each.
        """

    async def close(self) -> None:
        """Disconnect; also one that is not open, or broken. Does not raise."""


class Receiver(Protocol):
    """A connection that receives. Used by one task or thread."""

    async def open(self) -> None:
        """Connect."""

    async def follow(self, topics: Collection[str]) -> None:
        """Subscribe to more topics. `receive` tells when their notes begin to arrive."""

    async def unfollow(self, topics: Collection[str]) -> None:
        """Unsubscribe from topics."""

    async def receive(self, timeout: float) -> Sequence[Arrived]:
        """The notes that have arrived, or arrive within `timeout` seconds. Empty only after the timeout."""

    async def close(self) -> None:
        """See `Sender.close`."""


class Notifier(Protocol):
    """The way in which a host sends notes. Processes may share it, and it survives a fork.

    `suspends` says whether the calls suspend (asyncio), or block.
    """

    def sender(self, *, suspends: bool) -> Sender:
        """A new one, not open."""

    def receiver(self, *, suspends: bool) -> Receiver:
        """A new one, not open."""
