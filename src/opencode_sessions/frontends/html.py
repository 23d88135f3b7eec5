"""`HtmlEncoder`: HTML for each part of a turn, which the page's script inserts; see docs/django-views.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from opencode_sessions.display import PermissionAsk, QuestionAsk, Shown, ShownAsk, ShownError
from opencode_sessions.frontends import sse
from opencode_sessions.live.news import News
from opencode_sessions.live.view import RenderContext, Rendered, TurnView

__all__ = ["HtmlEncoder"]


class HtmlEncoder:
    """An `Encoder`; the HTML itself is the host's.

    Args:
        render_part: Returns the HTML of a part: an element with the id `part-…`.
        render_ask: Returns the HTML of an ask, with its form, for the form's URL. All browsers get the same HTML, so it
            must not contain a token.
        render_error: Returns the HTML of an error.
    """

    content_type = sse.CONTENT_TYPE
    sends_growth = False

    def __init__(
        self,
        *,
        render_part: Callable[[Shown], str],
        render_ask: Callable[[ShownAsk, str], str],
        render_error: Callable[[ShownError], str],
    ) -> None:
        self.render_part = render_part
        self.render_ask = render_ask
        self.render_error = render_error

    def render(self, shown: Shown | ShownAsk | ShownError, context: RenderContext) -> str:
        """See `Renderer.render`."""
        match shown:
            case ShownError():
                return self.render_error(shown)
            case PermissionAsk() | QuestionAsk():
                return self.render_ask(shown, context.action)
            case _:
                return self.render_part(shown)

    def begin(self, context: RenderContext) -> bytes:  # noqa: ARG002 - the port's
        """See `Encoder.begin`."""
        return sse.RETRY

    def news(self, news: News, context: RenderContext) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.news`."""
        return b"".join([self._state(news.view)] if news.whole or news.status else self._changes(news))

    def heartbeat(self) -> bytes:
        """See `Encoder.heartbeat`."""
        return sse.BEAT

    def rests(self, view: TurnView) -> bool:  # noqa: ARG002 - likewise
        """See `Encoder.rests`. Its streams go on until the turn ends."""
        return False

    def again(self, context: RenderContext) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.again`."""
        return sse.AGAIN

    def end(self, context: RenderContext, view: TurnView | None, status: str) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.end`."""
        return sse.frame("end", sse.dumps({"status": status}))

    def _state(self, view: TurnView) -> bytes:
        told = {
            "status": view.status,
            "revision": view.revision,
            "live": view.live,
            "parts": [{"id": _element(part), "html": part.forms[self]} for part in view.parts.values()],
            "asks": self._listed(view.asks.values()),
            "error_html": "" if view.error is None else view.error.forms[self],
            **asdict(view.bill),
            "content_length": view.length,
        }
        return sse.frame("state", sse.dumps(told), view.revision)

    def _changes(self, news: News) -> Iterator[bytes]:
        for each in news.parts:
            after = None if each.after is None else f"part-{each.after}"
            told = {"id": _element(each.part), "html": each.part.forms[self], "after": after}
            yield sse.frame("part", sse.dumps(told))
        if news.asks:
            yield sse.frame("asks", sse.dumps({"asks": self._listed(news.view.asks.values())}))
        if not news.view.ahead:
            yield sse.revised(news.view.revision)  # the browser has the whole revision now

    def _listed(self, asks: Iterable[Rendered[ShownAsk]]) -> list[dict[str, Any]]:
        return [{"id": ask.shown.id, "html": ask.forms[self]} for ask in asks]


def _element(part: Rendered[Shown]) -> str:
    return f"part-{part.shown.id}"
