"""`Encoder`: the port of a protocol in which a turn is told to those who watch it."""

from __future__ import annotations

from typing import Protocol

from opencode_sessions.live.news import News
from opencode_sessions.live.view import RenderContext, Renderer, TurnView

__all__ = ["Encoder"]


class Encoder(Renderer, Protocol):
    """How a turn is told. It holds nothing of a turn or of a stream, so one serves all streams of a process.

    Each who watches names one; have one object for each protocol, as what it has rendered is kept by it.
    """

    @property
    def content_type(self) -> str:
        """Of a response that is such a stream."""

    def begin(self, context: RenderContext) -> bytes:
        """What comes first of all.

        Args:
            context: That of the one who watches.
        """

    def news(self, news: News, context: RenderContext) -> bytes:
        """What has changed; nothing if this protocol does not tell of that.

        All who have seen as much, and have the same context, get the same.
        """

    def heartbeat(self) -> bytes:
        """What is sent in a quiet time, so that proxies keep the stream and whoever is gone is noticed."""

    def rests(self, view: TurnView) -> bool:
        """Does a stream of this protocol end here, though the turn goes on later: it waits for a person?"""

    def again(self, context: RenderContext) -> bytes:
        """What comes last, where the stream ends and the turn goes on: connect again at once."""

    def end(self, context: RenderContext, view: TurnView | None, status: str) -> bytes:
        """What comes last of all.

        Args:
            context: That of the one who watches.
            view: What was told; None: nothing could be shown.
            status: How the turn ended, how it stands where it `rests`, or "gone" if its row was deleted.
        """
