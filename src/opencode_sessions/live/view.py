"""What a turn looks like at one moment: the display's view model, and how each encoder renders it."""

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
    """The half of an `Encoder` that is called once for each change, however many watch.

    Attributes:
        sends_growth: Of a text that grows, it sends what came, rather than the whole.
    """

    @property
    def sends_growth(self) -> bool:
        """See above."""

    def render(self, shown: Shown | ShownAsk | ShownError, context: RenderContext) -> Sized:
        """A part, an ask or an error as it is sent. It may take long, query, and raise.

        Returns:
            What has as many items as it takes characters to send.
        """


Renderers: TypeAlias = AbstractSet[Renderer]
"""Those of all who watch a turn."""


@dataclass(frozen=True, slots=True)
class Rendered(Generic[T_co]):
    """A part, an ask or an error.

    Attributes:
        shown: It, as a display has it.
        forms: It, as each encoder sends it.
        size: How many characters its last change is, for the encoder that sends most.
    """

    shown: T_co
    forms: Mapping[Renderer, Any]
    size: int


@dataclass(frozen=True, slots=True)
class Bill:
    """What a turn has cost so far, as its row says."""

    cost: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    """A turn at one moment.

    Attributes:
        status: The row's.
        revision: The row's; what is shown may be newer.
        live: The turn runs in this process.
        parts: By their ids, in order.
        asks: Likewise.
        error: None where nothing went wrong.
        bill: The row's.
        length: How many characters the answer's text has.
        renderers: Those for whom all of it is rendered.
        grown: Deltas have made its texts longer than the row has them.
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
        """What is shown is newer than the revision."""
        return self.live or self.grown


def view_of_row(
    row: TurnRow,
    before: TurnView | None,
    context: RenderContext,
    renderers: Renderers,
    *,
    grown: bool = False,
) -> TurnView:
    """What a row looks like.

    Args:
        row: As it is stored.
        before: The last view: what has not changed since is not rendered again.
        context: What the row does not tell.
        renderers: Those of all who watch.
        grown: Deltas have made the texts longer than they were stored.
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
    """What a row asks, by its ids."""
    asks = display_message(row, root=context.root).asks if row.asks else ()
    return {ask.id: render(ask, before.get(ask.id), context, renderers) for ask in asks}


def view_of_part(part: Json, *, growing: bool, asks: Iterable[Json], root: str, files: str) -> Shown | None:
    """What one part of a reply looks like; None where it says nothing (yet).

    Args:
        part: As `Reply.to_json` has it.
        growing: It is the last part of a reply that goes on.
        asks: What the row says that the agent asks.
        root: The worktree.
        files: See `RenderContext`.
    """
    shown = display([part], status="streaming" if growing else None, asks=asks, root=root, files=files)
    return shown[0] if shown else None


def bill_of(row: TurnRow) -> Bill:
    """What the row says that it has cost."""
    return Bill(row.cost, row.input_tokens, row.output_tokens)


def render(shown: T, before: Rendered[T] | None, context: RenderContext, renderers: Renderers) -> Rendered[T]:
    """It, as each encoder sends it.

    Args:
        shown: A part, an ask or an error.
        before: How it was rendered last, if it was: it stays so if it has not changed.
        context: What the row does not tell.
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
    """If it is the same text, with more at its end perhaps: how many characters were there before."""
    if isinstance(before, Text | Thought) and isinstance(now, Text | Thought) and type(before) is type(now):
        return len(before.markdown) if now.markdown.startswith(before.markdown) else None
    return None


def standing(shown: object) -> str:
    """How far a part is: `growing` or nothing, and of a tool call its state, or `asks`."""
    match shown:
        case Text() | Thought():
            return "growing" if shown.growing else ""
        case Tool():
            return "asks" if shown.asks else shown.state
        case _:
            return ""
