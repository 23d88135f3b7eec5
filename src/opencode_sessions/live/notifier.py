"""`Notifier`: the port of what carries notes between processes. It may lose, repeat and reorder them.

The row is the truth, and slow polling finds what a notifier has lost. So an implementation keeps nothing, confirms
nothing, and raises when its connection breaks: the `Relay` opens another one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Arrived", "Notifier", "Receiver", "Sender"]


class Arrived(NamedTuple):
    """Something came.

    Attributes:
        topic: Of which topic.
        told: What was sent; None: from now on notes of this topic come. That comes again if some may have been lost.
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
        """Let notes of these topics come, too. `receive` says when they do."""

    async def unfollow(self, topics: Collection[str]) -> None:
        """Let them come no more."""

    async def receive(self, timeout: float) -> Sequence[Arrived]:
        """What has come, or comes within `timeout` seconds; one at least, unless that has passed."""

    async def close(self) -> None:
        """See `Sender.close`."""


class Notifier(Protocol):
    """Where and how a host sends notes. It may be shared by processes and survive a fork.

    `suspends` says whether the calls suspend (asyncio), or block.
    """

    def sender(self, *, suspends: bool) -> Sender:
        """A new one, not open."""

    def receiver(self, *, suspends: bool) -> Receiver:
        """A new one, not open."""
