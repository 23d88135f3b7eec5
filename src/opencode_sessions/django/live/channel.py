"""`Channel`: one turn that is watched in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from collections.abc import Set as AbstractSet

from opencode_sessions.django.live.drawing import Drawing, Row, Surroundings, draw_asks, draw_row
from opencode_sessions.django.live.following import RATE, SHARE, Following
from opencode_sessions.django.live.looking import Head, Target
from opencode_sessions.django.live.picture import Picture
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.store.messages import TurnStatus

__all__ = ["Channel", "Watch"]

_OFTEN, _SELDOM = 0.3, 2.0
_QUIET = 10.0
"""After a quiet of `n` seconds the row is looked at again in a tenth of that, from often to seldom."""

_LAST_WORDS = 2.5
"""Seconds: who cancels a turn stores what it had said by then a little after its end. The page keeps its words."""

_EAGER, _EAGERLY = 1.0, 0.1
"""Something was asked or answered: for so many seconds the row is looked at so often, until it says so."""

_CATCH_UP = 0.75
"""Seconds: a browser that comes from the process that runs the turn may show more than the row says by now. So long it
takes until the row is written and looked at again. The page keeps its words."""

_TRIES = 3
"""To draw how a turn ended: then browsers are told only that it has."""


class Watch:
    """One browser.

    Args:
        channel: What it watches.
        has: The revision that it shows already, if any.
        wake: Called, from any thread, when there is news.
        who: The key of its user, if one is logged in.
        until: When its stream ends, by the monotonic clock.
    """

    def __init__(
        self, channel: Channel, has: int | None, wake: Callable[[], None], *, who: Hashable, until: float
    ) -> None:
        self.channel = channel
        self.wake = wake
        self.who = who
        self.until = until
        # At revision 0 a row can begin, and be put back, without a trace in the number.
        self._has = has if has and channel.shows(has) else None
        self._waits_until = time.monotonic() + _CATCH_UP if has else 0.0
        self._seen = max(channel.picture.version, 1) if self._has else 0

    @property
    def pause(self) -> float:
        """For how many seconds more it is sent nothing."""
        drawing = self.channel.picture.drawing
        if self.channel.over or (drawing is not None and drawing.live):
            return 0.0
        return max(self._waits_until - time.monotonic(), 0.0)

    def news(self) -> list[bytes]:
        """What it has not been sent yet."""
        if self.pause:
            return []
        picture = self.channel.picture
        drawing = picture.drawing
        if self._has and drawing is not None:
            # The first drawing may be of a later row than was read for this browser.
            same = not drawing.live and drawing.revision == self._has and picture.version == self._seen
            if not same:
                self._has, self._seen = None, 0  # it may show more than its revision had: all of it, then
        frames = picture.since(self._seen)
        self._seen = max(self._seen, picture.version)
        return [*frames, picture.end(self.channel.ended)] if self.channel.over else frames


class Channel:
    """One turn that is watched.

    All of it is used under the hub's lock, but for `draw`, which one thread at a time may call: see `drawing`.

    Args:
        target: Its row.
        row: As the first browser's request has read it.
        around: What the row does not tell.

    Attributes:
        watches: Who watches it.
        ended: How, where that cannot be drawn: the row's status, or "gone" if it was deleted.
        drawing: A thread draws it, or is about to.
    """

    def __init__(self, target: Target, row: Row, around: Surroundings) -> None:
        self.target = target
        self.picture = Picture()
        self.watches: set[Watch] = set()
        self.ended = ""
        self.drawing = False
        self._tries = _TRIES
        self._row = row
        self._around = around
        self._asks: dict[str, str] | None = None
        self._following: Following | None = None
        self._changed_at = time.monotonic()
        self._eager_until = self._rests_until = 0.0
        self._doubts = False
        self._took = 0.0
        self._cancelled: tuple[int, float] | None = None
        self._look_at = _beat(self._changed_at + _OFTEN)

    @property
    def over(self) -> bool:
        """Nothing more comes."""
        return bool(self.ended) or self.picture.over

    @property
    def head(self) -> Head | None:
        """What is known of the row."""
        return None if self.lost or self._doubts else (self._row.status, self._row.revision)

    @property
    def due(self) -> float:
        """When there is something to do."""
        if self.drawing:
            return float("inf")
        if self.picture.drawing is None:
            return self._rests_until
        draws = self._following.due if self._following is not None else self._look_at
        return max(min(self._look_at, draws), self._rests_until)

    @property
    def lost(self) -> bool:
        """The turn ran here, and its runner is gone without a word."""
        return self._following is not None and not self._following.alive

    def shows(self, revision: int | None) -> bool:
        """Is it, or is it going to be, the row as it was at this revision?"""
        drawing = self.picture.drawing
        if self._following is not None or (drawing is not None and drawing.live):
            return False
        return revision == (self._row.revision if drawing is None else drawing.revision)

    def follow(self, reply: Reply) -> Following:
        """The turn runs in this process: show its answer, rather than the row."""
        if self._following is None or not self._following.follows(reply):
            self._following = Following(reply, self._around.root, self._around.files)
        return self._following

    def note(self, reply: Reply, part_id: str) -> None:
        """A part of the answer has changed."""
        self.follow(reply).note(part_id)

    def look_soon(self, *, eagerly: bool = False) -> None:
        """The row has changed, or will in a moment."""
        self._look_at = 0.0
        if eagerly:
            self._eager_until = time.monotonic() + _EAGER

    def begin(self, now: float) -> tuple[bool, AbstractSet[str]]:
        """Is the row to be looked at, and which parts are to be drawn?"""
        looks = self._look_at <= now
        if looks:
            self._look_at = self._next_look(now)
        return looks, self._following.collect(now) if self._following is not None else set()

    def draw(self, dirty: AbstractSet[str], row: Row | None) -> Drawing | None:
        """What is to be shown now; None where nothing can have changed.

        Args:
            dirty: The parts of the answer that have changed.
            row: The row, where that has.
        """
        began = time.thread_time()
        try:
            return self._draw(dirty, row)
        finally:
            self._took = time.thread_time() - began

    def _draw(self, dirty: AbstractSet[str], row: Row | None) -> Drawing | None:
        if row is not None and self._awaits_last_words(row):
            row = None
        if row is not None:
            self._row, self._doubts = row, False
        if self._asks is None or row is not None:  # the parts of a row, too, say what is asked
            self._asks = draw_asks(self._row, self._around)
        shown, following = self.picture.drawing, self._following
        news = row is not None or shown is None
        if following is not None and not TurnStatus(self._row.status).terminal:
            drawing = following.draw(dirty, self._row, self._asks) if dirty or news else shown
            if drawing is not None:
                return drawing
        return draw_row(self._row, shown, self._around) if news else None

    def show(self, drawing: Drawing) -> None:
        """Have it shown."""
        now = time.monotonic()
        if not drawing.live:
            self._following = None
        if size := self.picture.take(drawing):
            self._changed_at = now
            if not drawing.live:
                self._look_at = max(self._look_at, now + max(size / RATE, self._took / SHARE))
            self.tell()

    def leave_alone(self, seconds: float) -> None:
        """It cannot be drawn, or looked at, now. An end that cannot be drawn at all is told without a drawing."""
        self._following = None
        self._doubts = True
        self._rests_until = time.monotonic() + seconds
        if TurnStatus(self._row.status).terminal:
            self._tries -= 1
            if self._tries <= 0:
                self.end(self._row.status)

    def end(self, how: str) -> None:
        """Nothing more comes, whatever is shown; see `ended`."""
        self.ended = how
        self.tell()

    def tell(self) -> None:
        """Wake those who watch."""
        for watch in self.watches:
            watch.wake()

    def _awaits_last_words(self, row: Row) -> bool:
        """Was the turn only just cancelled, so that the row says less than the page shows already?"""
        shown, now = self.picture.drawing, time.monotonic()
        if row.status != TurnStatus.CANCELLED or shown is None or self.picture.over or not shown.parts:
            return False
        if self._cancelled is None:
            self._cancelled = row.revision, now + _LAST_WORDS
            self._eager_until = now + _LAST_WORDS
            self._look_at = min(self._look_at, now + _EAGERLY)
        revision, until = self._cancelled
        return row.revision == revision and now < until

    def _next_look(self, now: float) -> float:
        if now < self._eager_until:
            return now + _EAGERLY
        if self._following is not None:
            return _beat(now + _SELDOM)
        return _beat(now + min(max((now - self._changed_at) / _QUIET, _OFTEN), _SELDOM))


def _beat(moment: float) -> float:
    """All turns are looked at on the same beat, so that one query tells of many."""
    return moment // _OFTEN * _OFTEN
