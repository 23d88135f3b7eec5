"""`DisplayJson`: a turn as server-sent events whose data is JSON, for front ends of any kind; see docs/turn-events.md.

Parts, asks and errors are view models of `opencode_sessions.display`. The data of each event is one of the classes
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, Literal, TypeAlias, get_origin, get_type_hints

from opencode_sessions.display import Shown, ShownAsk, ShownError, Text, Thought
from opencode_sessions.frontends import sse
from opencode_sessions.live.news import News, PartNews
from opencode_sessions.live.view import Bill, RenderContext, TurnView

__all__ = [
    "EVENTS",
    "JSON",
    "AsksChanged",
    "Begin",
    "BillChanged",
    "DisplayJson",
    "End",
    "Nothing",
    "PartChanged",
    "State",
    "TextGrown",
    "members",
    "plain",
]

Version: TypeAlias = Literal[1]
Status: TypeAlias = Literal["pending", "streaming", "completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first event of every stream. Within a version, events and fields are only added."""

    version: Version = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole view, in place of everything that was shown before."""

    status: Status
    revision: int
    live: bool
    parts: tuple[Shown, ...]
    asks: tuple[ShownAsk, ...]
    error: ShownError | None
    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChanged:
    """A part, in place of the one with its id; a new one comes after the part with the id `after` (null: first)."""

    part: Shown
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGrown:
    """A part, in place of the one with its id, except that `markdown` is appended to the text that was there."""

    part: Text | Thought


@dataclass(frozen=True, slots=True, kw_only=True)
class AsksChanged:
    """All asks that wait for a person, in place of the earlier ones."""

    asks: tuple[ShownAsk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BillChanged:
    """The cost of the turn so far."""

    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The last event of a turn: its status, or "gone" if its row was deleted. Do not reconnect."""

    status: Status | Literal["gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """An event without data."""


EVENTS: dict[str, type[Any]] = {
    "begin": Begin,
    "state": State,
    "part": PartChanged,
    "text": TextGrown,
    "asks": AsksChanged,
    "bill": BillChanged,
    "beat": Nothing,
    "again": Nothing,
    "end": End,
}
"""The classes of the events' data, by the events' names."""

_ALSO = ("title", "note", "more", "left_out", "text", "always_all")
"""Properties of the view model that are also sent, so that all front ends have the same texts."""


class DisplayJson:
    """An `Encoder`."""

    content_type = sse.CONTENT_TYPE
    sends_growth = True

    def render(self, shown: Shown | ShownAsk | ShownError, _context: RenderContext) -> str:
        """See `Renderer.render`."""
        return sse.dumps(plain(shown))

    def begin(self, context: RenderContext) -> bytes:  # noqa: ARG002 - the port's
        """See `Encoder.begin`."""
        return sse.RETRY + sse.frame("begin", sse.dumps(plain(Begin())))

    def news(self, news: News, context: RenderContext) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.news`."""
        if news.whole or news.status:
            return sse.frame("state", self._state(news.view), news.view.revision)
        events = [*self._changes(news)]
        # The number in the last event says that exactly this revision has come.
        number = None if news.view.ahead else news.view.revision
        last = len(events) - 1
        return b"".join(
            sse.frame(*event, number if place == last else None) for place, event in enumerate(events)
        )

    def heartbeat(self) -> bytes:
        """See `Encoder.heartbeat`."""
        return sse.BEAT

    def rests(self, view: TurnView) -> bool:  # noqa: ARG002 - likewise
        """See `Encoder.rests`: its streams go on until the turn ends."""
        return False

    def again(self, context: RenderContext) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.again`."""
        return sse.AGAIN

    def end(self, context: RenderContext, view: TurnView | None, status: str) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.end`."""
        return sse.frame("end", sse.dumps({"status": status}))

    def _state(self, view: TurnView) -> str:
        return _object(
            status=sse.dumps(view.status),
            revision=sse.dumps(view.revision),
            live=sse.dumps(view.live),
            parts=_array(part.forms[self] for part in view.parts.values()),
            asks=_array(ask.forms[self] for ask in view.asks.values()),
            error="null" if view.error is None else view.error.forms[self],
            bill=sse.dumps(plain(view.bill)),
        )

    def _changes(self, news: News) -> Iterator[tuple[str, str]]:
        for each in news.parts:
            yield self._part(each)
        if news.asks:
            yield "asks", _object(asks=_array(ask.forms[self] for ask in news.view.asks.values()))
        if news.bill:
            yield "bill", sse.dumps(plain(BillChanged(bill=news.view.bill)))

    def _part(self, news: PartNews) -> tuple[str, str]:
        shown = news.part.shown
        if news.known is not None and isinstance(shown, Text | Thought):
            rest = replace(shown, markdown=shown.markdown[news.known :])
            return "text", sse.dumps(plain(TextGrown(part=rest)))
        return "part", _object(part=news.part.forms[self], after=sse.dumps(news.after))


JSON = DisplayJson()
"""The one of a process: what is rendered for it is kept by it."""


def plain(value: Any) -> Any:
    """The value as JSON; a dataclass is an object of its `members`."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in members(value.__class__)}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value


@cache
def members(cls: type[Any]) -> dict[str, Any]:
    """The names and types of the values of a dataclass that are sent.

    Args:
        cls: The dataclass.
    """
    hints = get_type_hints(cls, include_extras=True)
    found = {name: hint for name, hint in hints.items() if get_origin(hint) is ClassVar}
    found |= {field.name: hints[field.name] for field in fields(cls)}
    for name in _ALSO:
        getter = getattr(cls, name, None)
        if isinstance(getter, property):
            found[name] = get_type_hints(getter.fget)["return"]
    return found


def _array(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def _object(**items: str) -> str:
    return "{" + ", ".join(f'"{name}": {item}' for name, item in items.items()) + "}"
