"""`LiveHub`: all watched turns of this process. It reads their rows, and makes threads render them.

One loop reads the rows, because one query can read many. Several threads render; see `render_pool`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from random import uniform
from typing import TypeVar
from weakref import WeakValueDictionary

from opencode_sessions.live.channel import Channel, ToDo, Viewer
from opencode_sessions.live.notes import Heard
from opencode_sessions.live.relay import Relay
from opencode_sessions.live.render_pool import RenderPool
from opencode_sessions.live.watch_request import WatchRequest
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.runtime.forks import renew_in_children
from opencode_sessions.runtime.ports import Bell, Runtime
from opencode_sessions.store.turn_table import RowKey, TurnRow, TurnRows
from opencode_sessions.texts import speaking

__all__ = ["LiveHub"]

T = TypeVar("T")

_log = logging.getLogger("opencode_sessions.live")

_IDLE = 5.0
_AFTER_TROUBLE = 2.0

_SPREAD = 0.75
"""The shortest stream, as a fraction of the longest, so that streams that began together do not end together."""

_DOUBT, _SHORTLY = 10.0, 1.0
"""A host may report a logout before it ends the login, and a process that is ending may still get requests. So new
streams are short for some seconds."""


class LiveHub:
    """Sends the changes of turns to their watchers. A process has one hub.

    A forked child begins with an empty hub, without watchers or a loop.

    Args:
        rows: The tables of messages. They block with `Threads`, and may suspend with `Tasks`.
        runtime: `Threads` reads rows in a thread of its own, while there are watchers. `Tasks` reads them in a task of
            the event loop in which `watch` is called.
        relay: Returns the relay that hears of turns in other processes; None without one.
    """

    def __init__(self, rows: TurnRows, runtime: Runtime, relay: Callable[[], Relay] | None = None) -> None:
        self._rows = rows
        self._runtime = runtime
        silent = Relay(None, runtime)
        self._relay = relay or (lambda: silent)
        self._renew()
        renew_in_children(self, LiveHub._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # the relay calls back at once when a row is followed
        self._running: WeakValueDictionary[RowKey, Reply] = WeakValueDictionary()
        self._channels: dict[RowKey, dict[str, Channel]] = {}  # of each row, by language
        self._unfollow: dict[Channel, Callable[[], None]] = {}
        self._logged_out: dict[Hashable, float] = {}
        self._ended = float("-inf")
        self._bell: Bell | None = None  # of the loop, while it runs
        self._waits_until = float("-inf")
        self._closes = False

    def watch(self, request: WatchRequest, wake: Callable[[], None]) -> Viewer:
        """Watch a turn, until `leave`.

        Args:
            request: The turn and the protocol.
            wake: Called, from any thread, when there may be news; then call `news`.

        Raises:
            RuntimeError: No more threads can be started.
        """
        key, language = request.key, request.context.language
        while True:
            channel = self._channels.get(key, {}).get(language)
            if channel is None:
                channel = Channel(key, request.row, request.context)
            with self._lock:
                self._run_if_needed()
                if self._channels.setdefault(key, {}).setdefault(language, channel) is channel:
                    if channel not in self._unfollow:
                        self._unfollow[channel] = self._relay().follow(key, partial(self._heard, channel))
                    # Read this after the channel was added: `changed` writes it before it looks for a channel.
                    if not channel.viewers and (reply := self._running.get(key)) is not None:
                        channel.follow(reply)
                    viewer = Viewer(channel, request, wake, self._end_of(request))
                    channel.viewers.add(viewer)
                    channel.look_if_behind(request.row.revision)
                    self._hurry(channel)
                    return viewer

    def leave(self, viewer: Viewer) -> None:
        """End a viewer, because its browser has gone."""
        channel = viewer.channel
        with self._lock:
            channel.viewers.discard(viewer)
            if not channel.viewers:
                self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        of_row = self._channels.get(channel.key, {})
        if of_row.get(channel.language) is channel:
            del of_row[channel.language]
            if not of_row:
                del self._channels[channel.key]
            self._unfollow.pop(channel)()

    def _all(self) -> list[Channel]:
        return [channel for of_row in self._channels.values() for channel in of_row.values()]

    def news(self, viewer: Viewer) -> tuple[bytes, bool]:
        """The bytes that were not sent to a browser yet, and whether they are the last ones."""
        with self._lock, speaking(viewer.context.language):
            return viewer.news(), viewer.over

    def end_of(self, viewer: Viewer) -> bytes:
        """The last bytes for a browser, if `news` has not sent them."""
        with self._lock, speaking(viewer.context.language):
            return viewer.end()

    def render(self, key: RowKey, rendering: Callable[[], T]) -> T:
        """Render a turn in a thread that has no tenant and no connection. The host's templates may query there."""
        try:
            with self._rows.inside(key.tenant):
                return rendering()
        finally:
            self._rows.give_back()

    def _end_of(self, request: WatchRequest) -> float:
        now, seconds = time.monotonic(), request.seconds
        if now - max(self._logged_out.get(request.who, self._ended), self._ended) < _DOUBT:
            seconds = min(seconds, _SHORTLY)
        return now + seconds * uniform(_SPREAD, 1)  # noqa: S311 - no secret

    def end(self) -> None:
        """End all streams soon, because the process is ending. Browsers then reconnect to the next process.

        A signal handler can call it, and may have interrupted the holder of the lock. So the work is done in a thread.
        """
        with suppress(RuntimeError):  # no thread can be started; the streams end with the process
            threading.Thread(target=self._end_all, name="opencode-sessions end", daemon=True).start()

    def _end_all(self) -> None:
        with self._lock:
            self._ended = now = time.monotonic()
            self._end_streams(now, lambda _: True)

    async def close(self, timeout: float) -> None:
        """End all streams and the loop. The hub can be used again afterwards.

        Args:
            timeout: Seconds to wait for the end of the loop, at most.
        """
        with self._lock:
            self._closes = True
            self._end_streams(time.monotonic(), lambda _: True)
            if self._bell is not None:
                self._bell.ring()
        await self._runtime.join(timeout)
        with self._lock:
            self._closes, self._ended = False, float("-inf")

    def _end_streams(self, now: float, ends: Callable[[Viewer], bool]) -> None:
        for viewer in [viewer for channel in self._all() for viewer in channel.viewers]:
            if ends(viewer):
                viewer.until = now
                viewer.wake()

    # Events, from any thread.

    def logged_out(self, who: Hashable) -> None:
        """End the streams of a user who has logged out."""
        with self._lock:
            now = time.monotonic()
            self._logged_out = {
                key: at for key, at in [*self._logged_out.items(), (who, now)] if now - at < _DOUBT
            }
            self._end_streams(now, lambda viewer: viewer.who == who)

    def changed(self, key: RowKey, reply: Reply, change: Change) -> None:
        """Note that an answer has changed. It is rendered later, so that the turn goes on at once."""
        if self._running.get(key) is not reply:
            self._running[key] = reply
        if key in self._channels:
            with self._lock:
                for channel in self._channels.get(key, {}).values():
                    channel.note(reply, change.part.id)
                    self._hurry(channel)

    def row_changed(self, key: RowKey, *, eagerly: bool = False) -> None:
        """Read the row, because it has changed or will in a moment; with `eagerly`, repeat until it has."""
        if key in self._channels:
            with self._lock:
                for channel in self._channels.get(key, {}).values():
                    channel.look_soon(eagerly=eagerly)
                    self._hurry(channel)

    def finished(self, key: RowKey) -> None:
        """Read the row, because the turn has ended."""
        self._running.pop(key, None)
        self.row_changed(key)

    def _heard(self, channel: Channel, heard: Heard) -> None:
        with self._lock:
            channel.hear(heard)
            self._hurry(channel)

    # The loop.

    def _hurry(self, channel: Channel) -> None:
        if self._bell is not None and channel.due < self._waits_until:
            self._waits_until = float("-inf")
            self._bell.ring()

    def _run_if_needed(self) -> None:
        if self._bell is None:
            bell, pool = self._runtime.bell(), RenderPool()
            try:
                self._runtime.spawn(lambda: self._run(bell, pool), "opencode-sessions live", joined=True)
            except RuntimeError:  # no more threads can be started; the next browser causes another attempt
                pool.stop()
                raise
            self._bell = bell

    async def _run(self, bell: Bell, pool: RenderPool) -> None:
        try:
            while ready := await self._next(bell):
                with self._sparing(ready, "turns cannot be shown now: %s"):
                    await self._serve(ready, pool)
        finally:
            pool.stop()
            with self._lock:
                if self._bell is bell:  # it was cancelled, with its event loop
                    self._bell = None

    async def _next(self, bell: Bell) -> list[Channel]:
        """The channels with work; none if there have been no watchers for a while."""
        rung = True
        while True:
            with self._lock:
                now = time.monotonic()
                channels = self._all()
                ready = [channel for channel in channels if channel.due <= now]
                if self._closes:
                    ready = []
                if ready or self._closes or not (rung or channels):
                    self._waits_until = float("-inf")
                    if not ready:
                        self._bell = None
                    return ready
                self._waits_until = min([now + _IDLE, *(channel.due for channel in channels)])
                seconds = self._waits_until - now
            rung = await bell.wait(seconds)

    @contextmanager
    def _sparing(self, channels: Iterable[Channel], problem: str, *about: object) -> Iterator[None]:
        """Whatever is raised inside is logged, and holds up these only."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - all other browsers hang on this loop
            level = logging.WARNING if self._rows.is_transient(error) else logging.ERROR
            _log.log(level, problem, *about, error, exc_info=True)
            with self._lock:
                for channel in channels:
                    channel.leave_alone(_AFTER_TROUBLE)

    async def _serve(self, ready: Iterable[Channel], pool: RenderPool) -> None:
        with self._lock:
            now = time.monotonic()
            begun = [(channel, channel.begin(now)) for channel in ready]
        looking = [channel for channel, todo in begun if todo.looks]
        rows = await self._look(looking) if looking else {}
        for channel, todo in begun:
            self._hand_on(channel, todo, rows.get(channel), pool)

    def _hand_on(self, channel: Channel, todo: ToDo, row: TurnRow | None, pool: RenderPool) -> None:
        if row is None and not todo.renders:
            self._render(channel, todo, row)  # there is nothing to render
            return
        with self._lock:
            channel.rendering = True
        pool.put(lambda: self._render(channel, todo, row))

    def _render(self, channel: Channel, todo: ToDo, row: TurnRow | None) -> None:
        view = None
        # A template of the host's own may raise, and may query.
        with self._sparing([channel], "the turn of %s cannot be rendered: %s", channel.key):
            try:
                with self._rows.inside(channel.key.tenant):
                    view = channel.render(todo.dirty, row)
            finally:
                if todo.renders or row is not None:
                    self._rows.give_back()
        with self._lock:
            channel.rendering = False
            if view is not None:
                channel.show(view)
            if channel.over:
                self._drop(channel)
            self._hurry(channel)

    async def _look(self, channels: Sequence[Channel]) -> dict[Channel, TurnRow]:
        """The rows that have changed."""
        tables: defaultdict[object, list[Channel]] = defaultdict(list)
        for channel in channels:
            key = channel.key
            tables[key.table, key.database, key.tenant].append(channel)
        rows: dict[Channel, TurnRow] = {}
        try:
            for table in tables.values():
                for channel in await self._changed(table):
                    with self._sparing([channel], "the row of %s cannot be read now: %s", channel.key):
                        row = await self._rows.row(channel.key)
                        if row is not None:
                            rows[channel] = row
                        else:
                            with self._lock:
                                channel.end("gone")
        finally:
            self._rows.give_back()
        return rows

    async def _changed(self, channels: Sequence[Channel]) -> list[Channel]:
        """The channels of one table whose rows have changed."""
        with self._sparing(channels, "the rows of turns cannot be looked at now: %s"):
            heads = await self._rows.heads([channel.key for channel in channels])
            return [each for each in channels if each.key not in heads or heads[each.key] != each.head]
        return []
