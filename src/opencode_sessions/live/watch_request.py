"""`WatchRequest`: what a browser wants to watch, and how."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from opencode_sessions.live.encoder import Encoder
from opencode_sessions.live.view import RenderContext
from opencode_sessions.store.turn_table import RowKey, TurnRow

__all__ = ["Made", "WatchRequest"]

Made = Callable[[], Awaitable[Sequence[Mapping[str, Any]] | None]]
"""Gives the files that a turn has made, as `RenderContext.made` has them; None while they are being collected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """What a browser wants to watch.

    Attributes:
        key: The row.
        row: As it was just read.
        context: What the row does not tell.
        encoder: How the turn is told.
        has: The revision that the browser shows already, if any.
        who: The key of the user who watches, if one is logged in.
        seconds: For how long at most: then the browser connects again, is asked for its rights again, and goes on
            where it was.
        answered: The asks that its user has just answered. Nothing is sent until the row knows, which takes a runner.
        made: Asked for the files that the turn has made, before its end is told; None: they are not told.
    """

    key: RowKey
    row: TurnRow
    context: RenderContext
    encoder: Encoder
    has: int | None = None
    who: Hashable = None
    seconds: float = 60.0
    answered: AbstractSet[str] = frozenset()
    made: Made | None = None
