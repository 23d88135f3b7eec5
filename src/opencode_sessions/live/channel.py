"""`Channel`: one watched turn in this process. `Viewer`: one browser that watches it."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from opencode_sessions.live.feed import Feed
from opencode_sessions.live.growth import Growth
from opencode_sessions.live.live_reply import AT_ONCE, RATE, SHARE, LiveReply
from opencode_sessions.live.notes import Delta, Heard, Note, RowWritten, Standing
from opencode_sessions.live.view import RenderContext, Renderers, TurnView, view_of_asks, view_of_row
from opencode_sessions.live.watch_request import WatchRequest
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import Head, RowKey, TurnRow
from opencode_sessions.texts import speaking

__all__ = ["Channel", "ToDo", "Viewer"]

_OFTEN, _SELDOM = 0.3, 2.0
_QUIET = 10.0
"""After `n` seconds without a change, the row is read again in `n / 10` seconds, so less and less often."""

_SLOWLY = 15.0
"""Seconds between two reads of a row whose writers send notes, because notes can be lost."""

_MOST_NOTES = 1_000
"""How many notes wait at most. If more come, the row is read instead."""

_LAST_WORDS = 2.5
"""Seconds after a cancel in which the rest of the answer may still be stored. Until then the page keeps its text."""

_EAGER, _EAGERLY = 1.0, 0.1
"""After an ask or an answer, the row is read every 0.1 s, for a second, until it shows the change."""

_CATCH_UP = 0.75
"""Seconds: a browser that comes from the process that runs the turn may show more than the row says by now. So long it
takes until the row is written and looked at again. The page keeps its words."""

_TRIES = 3
"""Attempts to render the end of a turn. After that, browsers only learn that it has ended."""


class ToDo(NamedTuple):
    """The next work for a channel.

    Attributes:
        looks: Whether to read the row.
        dirty: The parts of the answer that have changed.
        renders: Whether there is something to render, even if the row has not changed.
    """

    looks: bool
    dirty: AbstractSet[str]
    renders: bool


class Viewer:
    """One browser that watches a turn.

    Args:
        channel: The watched turn.
        request: The browser's request.
        wake: Called, from any thread, when there is news.
        until: The end of the stream, by the monotonic clock.
    """

    def __init__(
        self, channel: Channel, request: WatchRequest, wake: Callable[[], None], until: float
    ) -> None:
        self.channel = channel
        self.encoder = request.encoder
        self.wake = wake
        self.who = request.who
        self.until = until
        self.context = request.context
        self.withheld = False  # the end is all that is left to be sent
        self._ends_apart = request.made is not None
        self._answered = request.answered
        has = request.has
        # At revision 0 a turn can begin, and be reset to pending, without a change of the number.
        self._has = has if has and channel.shows(has) else None
        # A browser could name any revision, so it is trusted only as far as the row that was read for it.
        self._least = min(has or 0, request.row.revision)
        self._waits_until = time.monotonic() + _CATCH_UP if has else 0.0
        self._seen = max(channel.feed.version, 1) if self._has else 0

    @property
    def over(self) -> bool:
        """Whether nothing more comes to this viewer."""
        view = self.channel.feed.view
        rests = view is not None and self._serves and self.encoder.rests(view) and not self.pause
        return self._ended or rests

    @property
    def _serves(self) -> bool:
        return self.channel.feed.serves(self.encoder)

    @property
    def _ended(self) -> bool:
        return bool(self.channel.ended) or (self.channel.feed.over and self._serves)

    @property
    def pause(self) -> float:
        """Seconds for which nothing more is sent to it."""
        view, now = self.channel.feed.view, time.monotonic()
        if self._ended:
            return 0.0
        if view is not None and not self._answered.isdisjoint(view.asks):
            return float("inf")
        if view is not None and view.live:
            return 0.0
        if view is not None and view.revision < self._least:  # it would replace newer text by older text
            return float("inf")
        return max(self._waits_until - now, 0.0)

    def news(self) -> bytes:
        """The bytes not sent yet, with the end, unless the end of the turn waits for its files."""
        feed = self.channel.feed
        if self.pause or not (self._serves or self._ended):
            return b""
        view = feed.view
        if self._has and view is not None:
            # The first view may show a later row than the one that was read for this browser.
            same = not view.ahead and view.revision == self._has and feed.version == self._seen
            if not same:
                self._has, self._seen = None, 0  # it may show more than its revision has, so send everything
        said = feed.since(self._seen, self.encoder, self.context) if self._serves else b""
        self._seen = max(self._seen, feed.version)
        self.withheld = self._ended and self._ends_apart
        return said + self.end() if self.over and not self.withheld else said

    def end(self) -> bytes:
        """The last bytes of the stream."""
        return self.encoder.end(self.context, self.channel.feed.view, self.status)

    @property
    def status(self) -> str:
        """How the turn has ended, or how it stands."""
        feed = self.channel.feed
        gone = feed.view is None or (self.channel.ended and not feed.over)
        return self.channel.ended if gone or feed.view is None else feed.view.status


class Channel:
    """One turn that is watched, in one language.

    All of it is used under the hub's lock, but for `render`, which one thread at a time may call: see `rendering`.

    Args:
        key: Its row.
        row: As the first browser's request has read it.
        context: What the row does not tell.

    Attributes:
        language: Of its texts.
        viewers: Who watches it.
        ended: How, where that cannot be rendered: the row's status, or "gone" if it was deleted.
        rendering: A thread renders it, or is about to.
    """

    def __init__(self, key: RowKey, row: TurnRow, context: RenderContext) -> None:
        self.key, self.language = key, context.language
        self.feed = Feed()
        self.viewers: set[Viewer] = set()
        self.ended = ""
        self.rendering = False
        self._tries = _TRIES
        self._row = row
        self._context = context
        self._renderers: Renderers = frozenset()
        self._reply: LiveReply | None = None
        self._rendered_reply: LiveReply | None = None  # the one that the last rendering found
        self._growth = Growth()
        self._notes: list[Note] = []
        self._notes_due = float("inf")
        self._notes_come = self._grew = False
        self._grows_at = self._looks_again = 0.0
        self._changed_at = time.monotonic()
        self._eager_until = self._rests_until = 0.0
        self._doubts = False
        self._took = 0.0
        self._cancelled: tuple[int, float] | None = None
        self._look_at = _beat(self._changed_at + _OFTEN)

    @property
    def over(self) -> bool:
        """Whether nothing more comes to any viewer."""
        return bool(self.ended) or (self.feed.over and self._serves_all)

    @property
    def _serves_all(self) -> bool:
        """Is the view rendered for the encoders of all viewers?"""
        return all(self.feed.serves(viewer.encoder) for viewer in self.viewers)

    @property
    def head(self) -> Head | None:
        """The last known head of the row."""
        return None if self.lost or self._doubts else Head(self._row.status, self._row.revision)

    @property
    def due(self) -> float:
        """The time of the next work."""
        if self.rendering:
            return float("inf")
        if self.feed.view is None or not self._serves_all:
            return self._rests_until
        renders = self._reply.due if self._reply is not None else self._look_at
        return max(min(self._look_at, renders, self._notes_due), self._rests_until)

    @property
    def lost(self) -> bool:
        """Whether the turn ran here, and its runner has ended without an event."""
        return self._reply is not None and not self._reply.alive

    def shows(self, revision: int | None) -> bool:
        """Does the view show this revision of the row, or will it?"""
        view = self.feed.view
        if self._reply is not None or self._grew or (view is not None and view.ahead):
            return False
        return revision == (self._row.revision if view is None else view.revision)

    def follow(self, reply: Reply) -> LiveReply:
        """Show this reply instead of the row, because the turn runs in this process."""
        if self._reply is None or not self._reply.follows(reply):
            self._reply = LiveReply(reply, self._context)
        return self._reply

    def note(self, reply: Reply, part_id: str) -> None:
        """Note that a part of the answer has changed."""
        self.follow(reply).note(part_id)

    def hear(self, heard: Heard) -> None:
        """Keep a note of another process about the turn. It is handled later, when nothing is being rendered."""
        match heard:
            case Standing(now):
                self._notes_come = now
                self.look_soon()
                return
            case RowWritten():
                self._notes_due = 0.0
            case Delta():
                self._notes_due = min(self._notes_due, self._grows_at)
        self._notes.append(heard)
        if len(self._notes) > _MOST_NOTES:
            self._notes.clear()
            self.look_soon()

    def look_soon(self, *, eagerly: bool = False) -> None:
        """Read the row soon, because it has changed, or will in a moment."""
        self._look_at = 0.0
        if eagerly:
            self._eager_until = time.monotonic() + _EAGER

    def look_if_behind(self, revision: int) -> None:
        """Read the row soon, if a browser's request has read a later revision of it."""
        if revision > self._row.revision:
            self.look_soon()

    def begin(self, now: float) -> ToDo:
        """The work that is due now."""
        self._mind_notes()
        looks = self._look_at <= now
        if looks:
            self._look_at = self._next_look(now)
        self._renderers = frozenset(viewer.encoder for viewer in self.viewers)
        dirty = self._reply.collect(now) if self._reply is not None else set()
        return ToDo(looks or self.lost, dirty, renders=bool(dirty) or self._grew or not self._is_rendered)

    def _mind_notes(self) -> None:
        notes, self._notes, self._notes_due = self._notes, [], float("inf")
        for note in notes:
            if isinstance(note, RowWritten):
                if not self._knows(note):
                    soon = 0.0 if note.revision is None else self._looks_again
                    self._look_at = min(self._look_at, soon)
            elif self._reply is None and self._growth.add(note, self._row):
                self._grew = True

    def _knows(self, written: RowWritten) -> bool:
        """Do the deltas contain everything that was written? Then the row need not be read now."""
        revision, row = written.revision, self._row
        if revision is None or self._doubts:
            return False
        if revision <= row.revision:
            return True
        told = self._reply is None and row.revision >= written.since
        return told and all(self._growth.ends_at(end, row) for end in written.ends)

    @property
    def _is_rendered(self) -> bool:
        """Is there a view that was rendered for all viewers at its begin?"""
        return self.feed.view is not None and self._renderers <= self.feed.view.renderers

    def render(self, dirty: AbstractSet[str], row: TurnRow | None) -> TurnView | None:
        """The new view; None if nothing can have changed.

        Args:
            dirty: The parts of the answer that have changed.
            row: The row, if it has changed.
        """
        began = time.thread_time()
        try:
            with speaking(self._context.language):
                return self._view(dirty, row)
        finally:
            self._took = time.thread_time() - began

    def _view(self, dirty: AbstractSet[str], row: TurnRow | None) -> TurnView | None:
        if row is not None and self._awaits_last_words(row):
            row = None
        if row is not None:
            self._row, self._doubts = row, False
        shown, reply, renderers = self.feed.view, self._reply, self._renderers
        self._rendered_reply = reply
        news = row is not None or self._grew or not self._is_rendered
        if reply is not None and not TurnStatus(self._row.status).terminal:
            view = self._live(reply, dirty, renderers, news=news) if dirty or news else shown
            if view is not None:
                return view
        if not news:
            return None
        grown, self._grew = self._growth.over(self._row), False
        return view_of_row(grown, shown, self._context, renderers, grown=grown is not self._row)

    def _live(
        self, reply: LiveReply, dirty: AbstractSet[str], renderers: Renderers, *, news: bool
    ) -> TurnView | None:
        asks = self.feed.view.asks if self.feed.view is not None else {}
        if news:  # the asks depend on the parts of the row, too
            asks = view_of_asks(self._row, asks, self._context, renderers)
        return reply.view(dirty, self._row, asks, renderers)

    def show(self, view: TurnView) -> None:
        """Show this view to the viewers."""
        now = time.monotonic()
        serves = self.feed.view is not None and view.renderers <= self.feed.view.renderers
        if not view.live and self._reply is self._rendered_reply:  # not one that began meanwhile
            self._reply = None
        if size := self.feed.take(view):
            self._changed_at = now
            pause = max(size / RATE, self._took / SHARE)
            self._grows_at = now + max(pause, AT_ONCE)
            if not view.live:
                self._looks_again = now + pause
                self._look_at = max(self._look_at, self._looks_again)
        if size or not serves:
            self.tell()

    def leave_alone(self, seconds: float) -> None:
        """Wait after a failure to read or render. If the end cannot be rendered at all, it is sent without a view."""
        self._reply = None
        self._doubts = True
        self._rests_until = time.monotonic() + seconds
        if TurnStatus(self._row.status).terminal:
            self._tries -= 1
            if self._tries <= 0:
                self.end(self._row.status)

    def end(self, how: str) -> None:
        """End the channel, whatever it shows; see `ended`."""
        self.ended = how
        self.tell()

    def tell(self) -> None:
        """Wake the viewers."""
        for viewer in self.viewers:
            viewer.wake()

    def _awaits_last_words(self, row: TurnRow) -> bool:
        """Was the turn cancelled a moment ago, so that the row may have less text than the page?"""
        shown, now = self.feed.view, time.monotonic()
        if row.status != TurnStatus.CANCELLED or shown is None or self.feed.over or not shown.parts:
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
        if self._notes_come:
            return now // _SLOWLY * _SLOWLY + _SLOWLY
        if self._reply is not None:
            return _beat(now + _SELDOM)
        return _beat(now + min(max((now - self._changed_at) / _QUIET, _OFTEN), _SELDOM))


def _beat(moment: float) -> float:
    """The next common time to read rows, so that one query reads many."""
    return moment // _OFTEN * _OFTEN
