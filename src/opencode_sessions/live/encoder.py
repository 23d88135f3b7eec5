"""`Encoder`: the port of a protocol that sends a turn to its watchers."""

from __future__ import annotations

from typing import Protocol

from opencode_sessions.live.news import News
from opencode_sessions.live.view import RenderContext, Renderer, TurnView

__all__ = ["Encoder"]


class Encoder(Renderer, Protocol):
    """A protocol. It has no state of a turn or a stream, so one object serves all streams of a process.

    Each watcher names an encoder. Make one object for each protocol, because rendered parts are stored by encoder.
    """

    @property
    def content_type(self) -> str:
        """The content type of the response."""

    def begin(self, context: RenderContext) -> bytes:
        """The first bytes of a stream.

        Args:
            context: The watcher's context.
        """

    def news(self, news: News, context: RenderContext) -> bytes:
        """The bytes for a change; empty if this protocol does not show it.

        Watchers with the same context that have seen the same changes get the same bytes.
        """

    def heartbeat(self) -> bytes:
        """The bytes in a quiet time. They keep proxies from closing the stream, and reveal closed browsers."""

    def rests(self, view: TurnView) -> bool:
        """Does a stream of this protocol end when the turn waits for a person?"""

    def again(self, context: RenderContext) -> bytes:
        """The last bytes of a stream that ends before its turn: they make the client reconnect at once."""

    def end(self, context: RenderContext, view: TurnView | None, status: str) -> bytes:
        """The last bytes of a turn that has ended.

        Args:
            context: The watcher's context.
            view: The view that was sent; None: nothing could be shown.
            status: The status of the turn, or "gone" if its row was deleted.
        """
