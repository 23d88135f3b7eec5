"""`Feed`: the newest view of a turn, and its differences from an earlier view.

Each change has a number. A watcher that has seen the changes up to a number gets the newer ones together: the newest
state of each part, and for a text that has only grown, perhaps only the new end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from opencode_sessions.live.encoder import Encoder
from opencode_sessions.live.news import FORGOTTEN, News, PartNews
from opencode_sessions.live.view import RenderContext, Rendered, Renderer, TurnView, shared_text, standing
from opencode_sessions.store.messages import TurnStatus

__all__ = ["Feed"]

_PAST = 100
"""How many earlier changes of a part are known. A watcher that is further behind gets the whole part."""


class Feed:
    """The views of one turn.

    Attributes:
        version: The number of the last change; 0 without a view.
        view: The newest view.
    """

    def __init__(self) -> None:
        self.version = 0
        self.view: TurnView | None = None
        self._whole = 0  # a watcher that has not seen this change needs the whole view
        self._parts: dict[str, _Changes] = {}
        self._status = self._asks = self._bill = 0
        self._told: dict[tuple[Encoder, int, RenderContext], bytes] = {}

    @property
    def over(self) -> bool:
        """Whether the turn has ended, and the view shows the end."""
        return self.view is not None and TurnStatus(self.view.status).terminal

    def serves(self, renderer: Renderer) -> bool:
        """Is the view rendered for this encoder?"""
        return self.view is not None and renderer in self.view.renderers

    def take(self, view: TurnView) -> int:
        """Show another view. Returns the number of new characters."""
        before, self.view = self.view, view
        self._told = {}
        number = self.version + 1
        if before is None or not _grew(before, view):
            self._whole = number
            self._parts = {key: _Changes(number, part) for key, part in view.parts.items()}
            news = [*view.parts]
        else:
            news = [key for key, part in view.parts.items() if _differ(before.parts.get(key), part)]
            for key in news:
                if key in self._parts:
                    self._parts[key].add(number, before.parts[key], view.parts[key])
                else:
                    self._parts[key] = _Changes(number, view.parts[key])
            if _shown(view.asks) != _shown(before.asks):
                self._asks = number
            if view.bill != before.bill:
                self._bill = number
            if _status(view) != _status(before):
                self._status = number
        if not news and number not in (self._whole, self._status, self._asks, self._bill):
            return 0
        self.version = number
        sent = news if number not in (self._whole, self._status) else view.parts
        return max(1, sum(view.parts[key].size for key in sent))

    def since(self, version: int, encoder: Encoder, context: RenderContext) -> bytes:
        """The bytes for a watcher that has seen the changes up to `version`.

        Args:
            version: The number of the last change that it has seen.
            encoder: Its encoder, for which the view is rendered.
            context: Its context.
        """
        if self.view is None or version >= self.version:
            return b""
        key = encoder, version, context
        told = self._told.get(key)
        if told is None:
            told = self._told[key] = encoder.news(self._news(self.view, version), context)
        return told

    def _news(self, view: TurnView, version: int) -> News:
        if version < self._whole:
            return News(view=view, whole=True, status=True, asks=True, bill=True)
        return News(
            view=view,
            status=version < self._status,
            parts=[*self._part_news(view, version)],
            asks=version < self._asks,
            bill=version < self._bill,
        )

    def _part_news(self, view: TurnView, version: int) -> Iterator[PartNews]:
        after: str | None = None
        for key, part in view.parts.items():
            changes = self._parts[key]
            if changes.last > version:
                yield PartNews(part, after, changes.known(version), changes.was(version))
            after = key


class _Past(NamedTuple):
    """A part after one of its changes: the length of its text, if it has one, and its standing."""

    number: int
    length: int | None
    standing: str


class _Changes:
    """The changes of one part.

    Attributes:
        last: The number of the last one.
    """

    def __init__(self, number: int, part: Rendered[Any]) -> None:
        self.last = self._first = self._only_grew_since = number
        self._past = [_past(number, part)]

    def add(self, number: int, before: Rendered[Any], now: Rendered[Any]) -> None:
        if shared_text(before.shown, now.shown) is None:
            self._only_grew_since = number
        self.last = number
        self._past.append(_past(number, now))
        del self._past[:-_PAST]

    def known(self, version: int) -> int | None:
        """The length of its text at a change, if the text has only grown since."""
        past = self._at(version)
        return past.length if past is not None and version >= self._only_grew_since else None

    def was(self, version: int) -> str | None:
        """Its standing at a change; None if the part did not exist yet."""
        past = self._at(version)
        if past is None:
            return FORGOTTEN if version >= self._first else None
        return past.standing

    def _at(self, version: int) -> _Past | None:
        place = bisect_right(self._past, version, key=lambda past: past.number)
        return self._past[place - 1] if place else None


def _past(number: int, part: Rendered[Any]) -> _Past:
    return _Past(number, _length(part), standing(part.shown))


def _length(part: Rendered[Any]) -> int | None:
    return shared_text(part.shown, part.shown)


def _grew(before: TurnView, now: TurnView) -> bool:
    """Does the new view have the same parts in the same order, perhaps with more of them?"""
    return [key for key in now.parts if key in before.parts] == [*before.parts]


def _status(view: TurnView) -> tuple[Any, ...]:
    return view.status, view.live, None if view.error is None else view.error.shown


def _differ(before: Rendered[Any] | None, now: Rendered[Any] | None) -> bool:
    if before is now or before is None or now is None:
        return before is not now
    return before.shown is not now.shown and before.shown != now.shown


def _shown(asks: Mapping[str, Rendered[Any]]) -> list[Any]:
    return [ask.shown for ask in asks.values()]
