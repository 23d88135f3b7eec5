"""`Feed`: the newest view of a turn, and which of it is news to one who has seen an earlier one.

Each change has a number. Whoever has seen the changes up to some number gets what is newer, however many changes that
were: of each part the newest, and of a text that has only grown, perhaps, the rest.
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
"""Of a part so many earlier changes are known: whoever has seen less gets all of it."""


class Feed:
    """What is shown of one turn.

    Attributes:
        version: The number of the last change; 0: there is no view yet.
        view: The newest one.
    """

    def __init__(self) -> None:
        self.version = 0
        self.view: TurnView | None = None
        self._whole = 0  # who has not seen this change cannot be told of parts only
        self._parts: dict[str, _Changes] = {}
        self._status = self._asks = self._bill = 0
        self._told: dict[tuple[Encoder, int, RenderContext], bytes] = {}

    @property
    def over(self) -> bool:
        """The turn has ended, and this shows how."""
        return self.view is not None and TurnStatus(self.view.status).terminal

    def serves(self, renderer: Renderer) -> bool:
        """Is the view rendered for this one?"""
        return self.view is not None and renderer in self.view.renderers

    def take(self, view: TurnView) -> int:
        """Show another view. How many characters of it are new?"""
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
        """What is to be sent to one who has seen the changes up to this one.

        Args:
            version: That change's number.
            encoder: How it is told; the view is rendered for it.
            context: That of the one who watches.
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
    """A part after one of its changes: how long its text was, if it is one, and how it stood."""

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
        """How long its text was at a change, if it has only grown since."""
        past = self._at(version)
        return past.length if past is not None and version >= self._only_grew_since else None

    def was(self, version: int) -> str | None:
        """How it stood at a change; None: it was not there yet."""
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
    """Are the same parts there, in the same order, and perhaps more of them?"""
    return [key for key in now.parts if key in before.parts] == [*before.parts]


def _status(view: TurnView) -> tuple[Any, ...]:
    return view.status, view.live, None if view.error is None else view.error.shown


def _differ(before: Rendered[Any] | None, now: Rendered[Any] | None) -> bool:
    if before is now or before is None or now is None:
        return before is not now
    return before.shown is not now.shown and before.shown != now.shown


def _shown(asks: Mapping[str, Rendered[Any]]) -> list[Any]:
    return [ask.shown for ask in asks.values()]
