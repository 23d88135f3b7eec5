"""What a turn looks like at one moment: HTML for each of its parts. The one place here that knows the templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from opencode_sessions.display import Shown, display, display_message
from opencode_sessions.django.html import render_ask, render_error, render_part

__all__ = ["Drawing", "Drawn", "Row", "Surroundings", "bill_of", "draw_asks", "draw_part", "draw_row"]

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The columns of a message that are shown."""

    status: str
    revision: int
    content: str
    parts: list[dict[str, Any]]
    asks: list[dict[str, Any]]
    error: dict[str, Any] | None
    cost: float
    input_tokens: int
    output_tokens: int
    opencode_prompt_id: str | None

    @classmethod
    def columns(cls) -> list[str]:
        """Their names."""
        return [field.name for field in fields(cls)]

    @classmethod
    def of(cls, message: Any) -> Row:
        """Those of an instance."""
        return cls(**{name: getattr(message, name) for name in cls.columns()})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the row does not tell.

    Attributes:
        action: Where the forms of its asks are sent.
        root: The worktree, for paths that are shown from there on; None: what the calls tell of it.
        files: The base URL of the pictures and files that tools returned; see `display`.
    """

    action: str
    root: str | None = None
    files: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A part as it is shown, and its HTML."""

    shown: Shown
    html: str

    @property
    def id(self) -> str:
        """Of its element."""
        return f"part-{self.shown.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A turn at one moment.

    Attributes:
        status: The row's.
        revision: The row's; what is shown may be newer.
        live: The turn runs in this process.
        parts: By the ids of their elements, in order.
        asks: The HTML of each, by its id.
        error: HTML; empty where nothing went wrong.
        bill: What it has cost, and how long the answer's text is in characters.
    """

    status: str
    revision: int
    live: bool
    parts: Mapping[str, Drawn]
    asks: Mapping[str, str]
    error: str
    bill: Mapping[str, float]


def draw_row(row: Row, before: Drawing | None, around: Surroundings) -> Drawing:
    """What a row looks like.

    Args:
        row: As it is stored.
        before: The last drawing: what has not changed since is not rendered again.
        around: What the row does not tell.
    """
    message = display_message(row, root=around.root, files=around.files)
    known = before.parts if before is not None else {}
    drawn = (_drawn(shown, known.get(f"part-{shown.id}")) for shown in message.parts)
    return Drawing(
        status=row.status,
        revision=row.revision,
        live=False,
        parts={part.id: part for part in drawn},
        asks=draw_asks(row, around),
        error=render_error(message.error),
        bill=bill_of(row, len(row.content)),
    )


def draw_part(
    part: Json, before: Drawn | None, *, growing: bool, asks: Iterable[Json], root: str, files: str
) -> Drawn | None:
    """What one part of a reply looks like; None where it says nothing (yet).

    Args:
        part: As `Reply.to_json` has it.
        before: How it was drawn last.
        growing: It is the last part of a reply that goes on.
        asks: What the row says that the agent asks.
        root: The worktree.
        files: See `Surroundings`.
    """
    shown = display([part], status="streaming" if growing else None, asks=asks, root=root, files=files)
    return _drawn(shown[0], before) if shown else None


def draw_asks(row: Row, around: Surroundings) -> dict[str, str]:
    """The form of each ask, by its id. No CSRF token is in it, as all browsers get the same: `turn.js` sends one."""
    asks = display_message(row, root=around.root).asks if row.asks else ()
    return {ask.id: render_ask(ask, action=around.action) for ask in asks}


def bill_of(row: Row, length: int) -> dict[str, float]:
    """What the row says that it has cost, and how many characters the answer has."""
    return {
        "cost": row.cost,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "content_length": length,
    }


def _drawn(shown: Shown, before: Drawn | None) -> Drawn:
    if before is not None and before.shown == shown:
        return before
    return Drawn(shown, render_part(shown))
