"""`News`: what of a turn one who watches it has not been told yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opencode_sessions.display import Shown
from opencode_sessions.live.view import Rendered, TurnView

__all__ = ["FORGOTTEN", "News", "PartNews"]

FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class PartNews:
    """A part that is new, or has changed.

    Attributes:
        part: As it is now.
        after: The id of the part that it comes after; None: it is the first.
        known: How many characters of its text are known; None: it is to be told whole.
        was: Its `standing` when it was last told; None: it is new; `FORGOTTEN`: that is not known any more.
    """

    part: Rendered[Shown]
    after: str | None
    known: int | None
    was: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is to be told now.

    Attributes:
        view: All that there is.
        whole: All of it is to be told: what was told is not the beginning of it.
        status: How the turn stands has changed, or why it failed.
        parts: Those that are new or have changed, in order.
        asks: These have changed.
        bill: This has changed.
    """

    view: TurnView
    whole: bool = False
    status: bool = False
    parts: Sequence[PartNews] = ()
    asks: bool = False
    bill: bool = False
