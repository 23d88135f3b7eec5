"""`News`: the changes of a turn that a watcher has not seen yet."""

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
        part: The part as it is now.
        after: The id of the part before it; None: it is the first.
        known: How many characters of its text the watcher has; None: send the whole part.
        was: Its `standing` when it was last sent; None: it is new; `FORGOTTEN`: no longer known.
    """

    part: Rendered[Shown]
    after: str | None
    known: int | None
    was: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """The changes to send now.

    Attributes:
        view: The whole view.
        whole: Whether to send the whole view, because the earlier view is not its beginning.
        status: Whether the turn's status or error has changed.
        parts: The parts that are new or have changed, in order.
        asks: Whether the asks have changed.
        bill: Whether the cost has changed.
    """

    view: TurnView
    whole: bool = False
    status: bool = False
    parts: Sequence[PartNews] = ()
    asks: bool = False
    bill: bool = False
