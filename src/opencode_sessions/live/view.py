"""A turn's view at one moment: the display's view model, and its form for each encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from opencode_sessions.display import (
    Shown,
    ShownAsk,
    ShownError,
    Text,
    Thought,
    Tool,
    display,
    display_message,
)
from opencode_sessions.store.turn_table import TurnRow

__all__ = [
    "Bill",
    "RenderContext",
    "Rendered",
    "Renderer",
    "Renderers",
    "TurnView",
    "bill_of",
    "render",
    "shared_text",
    "standing",
    "view_of_asks",
    "view_of_part",
    "view_of_row",
]

Json = Mapping[str, Any]
T_co = TypeVar("T_co", bound=Shown | ShownAsk | ShownError, covariant=True)
T = TypeVar("T", bound=Shown | ShownAsk | ShownError)


@dataclass(frozen=True, slots=True)
class RenderContext:
    """What the row does not tell.

    Attributes:
        action: Where the forms of its asks are sent.
        root: The worktree, for paths that are shown from there on; None: what the calls tell of it.
        files: The base URL of the pictures and files that tools returned; see `display`.
        turn: What names the turn in a chat.
        thread: What names that chat.
        run: What names the request that is answered by the stream.
        history: What was said in the chat before the answer, as the encoder sends it.
        language: Of the texts; empty: that of the process. A turn is rendered once for each language in which it is
            watched.
        made: The files that the turn has made, as `opencode_sessions.host.files.told` has them; known at its end.
    """

    action: str = ""
    root: str | None = None
    files: str = ""
    turn: str = ""
    thread: str = ""
    run: str = ""
    history: str = field(default="", repr=False)
    language: str = ""
    made: Sequence[Json] = field(default=(), repr=False, compare=False)


class Renderer(Protocol):
    """The part of an `Encoder` that is called once for each change, for all watchers together.

    Attributes:
        sends_growth: Whether it sends only the new end of a growing text, rather than the whole.
    """

    @property
    def sends_growth(self) -> bool:
        """See above."""

    def render(self, shown: Shown | ShownAsk | ShownError, context: RenderContext) -> Sized:
        """A part, an ask or an error in the form in which it is sent. The call may take long, query, and raise.

        Returns:
            An object whose length is the number of characters to send.
        """


Renderers: TypeAlias = AbstractSet[Renderer]
"""The renderers of all watchers of a turn."""


@dataclass(frozen=True, slots=True)
class Rendered(Generic[T_co]):
    """A part, an ask or an error.

    Attributes:
        shown: The display's view model of it.
        forms: Its form for each encoder.
        size: The number of characters of its last change, for the encoder that sends most.
    """

    shown: T_co
    forms: Mapping[Renderer, Any]
    size: int


@dataclass(frozen=True, slots=True)
class Bill:
    """The cost and tokens of a turn so far, according to its row."""

    cost: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    """A turn at one moment.

    Attributes:
        status: The row's status.
        revision: The row's revision; the view may be newer.
        live: Whether the turn runs in this process.
        parts: The parts by their ids, in order.
        asks: The asks by their ids, in order.
        error: The error; None without one.
        bill: The row's cost and tokens.
        length: The number of characters of the answer's text.
        renderers: The renderers for which the whole view is rendered.
        grown: Whether deltas have made its texts longer than in the row.
    """

    status: str
    revision: int
    live: bool
    parts: Mapping[str, Rendered[Shown]]
    asks: Mapping[str, Rendered[ShownAsk]]
    error: Rendered[ShownError] | None
    bill: Bill
    length: int
    renderers: Renderers
    grown: bool = False

    @property
    def ahead(self) -> bool:
        """Whether the view is newer than its revision."""
        return self.live or self.grown


def view_of_row(
    row: TurnRow,
    before: TurnView | None,
    context: RenderContext,
    renderers: Renderers,
    *,
    grown: bool = False,
) -> TurnView:
    """The view of a row.

    Args:
        row: The stored row.
        before: The last view; unchanged parts of it are not rendered again.
        context: Values that the row does not have.
        renderers: The renderers of all watchers.
        grown: Whether deltas have made the texts longer than in the row.
    """
    message = display_message(row, root=context.root, files=context.files)
    parts = before.parts if before is not None else {}
    asks = before.asks if before is not None else {}
    error = before.error if before is not None else None
    return TurnView(
        status=row.status,
        revision=row.revision,
        live=False,
        parts={each.id: render(each, parts.get(each.id), context, renderers) for each in message.parts},
        asks={each.id: render(each, asks.get(each.id), context, renderers) for each in message.asks},
        error=None if message.error is None else render(message.error, error, context, renderers),
        bill=bill_of(row),
        length=len(row.content),
        renderers=renderers,
        grown=grown,
    )


def view_of_asks(
    row: TurnRow, before: Mapping[str, Rendered[ShownAsk]], context: RenderContext, renderers: Renderers
) -> Mapping[str, Rendered[ShownAsk]]:
    """The rendered asks of a row, by their ids."""
    asks = display_message(row, root=context.root).asks if row.asks else ()
    return {ask.id: render(ask, before.get(ask.id), context, renderers) for ask in asks}


def view_of_part(part: Json, *, growing: bool, asks: Iterable[Json], root: str, files: str) -> Shown | None:
    """The view model of one part of a reply; None while it has nothing to show.

    Args:
        part: The part, as `Reply.to_json` writes it.
        growing: Whether it is the last part of a reply that goes on.
        asks: The asks in the row.
        root: The worktree.
        files: See `RenderContext`.
    """
    shown = display([part], status="streaming" if growing else None, asks=asks, root=root, files=files)
    return shown[0] if shown else None


def bill_of(row: TurnRow) -> Bill:
    """The cost and tokens in the row."""
    return Bill(row.cost, row.input_tokens, row.output_tokens)


def render(shown: T, before: Rendered[T] | None, context: RenderContext, renderers: Renderers) -> Rendered[T]:
    """Render a part, an ask or an error for each encoder.

    Args:
        shown: The part, ask or error.
        before: Its last rendering, if there was one; it is kept if nothing has changed.
        context: Values that the row does not have.
        renderers: The encoders.
    """
    same = before is not None and (before.shown is shown or before.shown == shown)
    known = before.forms if before is not None and same else {}
    if before is not None and same and renderers <= known.keys():
        return before
    forms = {each: known[each] if each in known else each.render(shown, context) for each in renderers}
    text = shared_text(before.shown, shown) if before is not None else None
    sizes = (
        len(form) if text is None or not each.sends_growth else len(shown.markdown) - text  # type: ignore[union-attr]  # of what has a text
        for each, form in forms.items()
    )
    return Rendered(shown, forms, max(sizes, default=0))


def shared_text(before: object, now: object) -> int | None:
    """The length of the earlier text, if the new text begins with it; else None."""
    if isinstance(before, Text | Thought) and isinstance(now, Text | Thought) and type(before) is type(now):
        return len(before.markdown) if now.markdown.startswith(before.markdown) else None
    return None


def standing(shown: object) -> str:
    """The progress of a part: `growing` or empty; for a tool call its state, or `asks`."""
    match shown:
        case Text() | Thought():
            return "growing" if shown.growing else ""
        case Tool():
            return "asks" if shown.asks else shown.state
        case _:
            return ""
