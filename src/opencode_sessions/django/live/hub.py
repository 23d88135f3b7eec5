"""`hub`: all turns that are watched in this process, and the thread that draws them and looks at their rows."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from django.db import Error as DatabaseError
from django.db import models

from opencode_sessions.django.live.channel import Channel, Watch
from opencode_sessions.django.live.drawing import Row, Surroundings
from opencode_sessions.django.live.looking import Target, connected, heads_of, row_of
from opencode_sessions.django.registry import table_model
from opencode_sessions.django.signals import (
    turn_answered,
    turn_asked,
    turn_changed,
    turn_finished,
    turn_started,
)
from opencode_sessions.protocol.reply import Change, Reply

__all__ = ["Hub", "hub"]

_log = logging.getLogger("opencode_sessions.django")

_IDLE = 5.0
_AFTER_TROUBLE = 2.0


class Hub:
    """Hands what happens to turns to those who watch them.

    The signals come in the threads that run turns: they only note what has changed.
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._running: WeakValueDictionary[Target, Reply] = WeakValueDictionary()
        self._channels: dict[Target, Channel] = {}
        self._thread: threading.Thread | None = None
        self._until = 0.0

    def watch(
        self, message: models.Model, around: Surroundings, *, has: int | None, wake: Callable[[], None]
    ) -> Watch:
        """Watch a turn, until `leave`.

        Args:
            message: As it was just read.
            around: What the row does not tell.
            has: The revision that the browser shows already.
            wake: Called, from any thread, when there may be news: ask for `news`.
        """
        target = Target.of(message)
        while True:
            channel = self._channels.get(target)
            if channel is None:
                channel = Channel(target, Row.of(message), around, self._running.get(target))
            with self._wake:
                self._run_if_needed()
                if self._channels.setdefault(target, channel) is channel:
                    watch = Watch(channel, has, wake)
                    channel.watches.add(watch)
                    return watch

    def leave(self, watch: Watch) -> None:
        """Its browser is gone."""
        channel = watch.channel
        with self._wake:
            channel.watches.discard(watch)
            if not channel.watches and self._channels.get(channel.target) is channel:
                del self._channels[channel.target]

    def news(self, watch: Watch) -> tuple[list[bytes], bool]:
        """What a browser has not been sent yet, and whether that is the end."""
        with self._wake:
            return watch.news(), watch.channel.over

    # What the signals say, in whatever thread.

    def changed(self, target: Target, reply: Reply, change: Change) -> None:
        """An answer has grown."""
        if self._running.get(target) is not reply:
            self._running[target] = reply
        if target in self._channels:
            with self._wake:
                channel = self._channels.get(target)
                if channel is not None:
                    channel.note(reply, change.part.id)
                    self._hurry(channel)

    def stirred(self, target: Target, *, eagerly: bool = False) -> None:
        """The row has changed, or will in a moment."""
        if target in self._channels:
            with self._wake:
                channel = self._channels.get(target)
                if channel is not None:
                    channel.look_soon(eagerly=eagerly)
                    self._hurry(channel)

    def finished(self, target: Target) -> None:
        """The row says how the turn ended."""
        self._running.pop(target, None)
        self.stirred(target)

    # The thread.

    def _hurry(self, channel: Channel) -> None:
        if channel.due < self._until:
            self._wake.notify()

    def _run_if_needed(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="opencode-sessions live", daemon=True)
            thread.start()  # which can fail: the next browser then tries it again
            self._thread = thread
        else:
            self._wake.notify()

    def _run(self) -> None:
        while (ready := self._next()) is not None:
            with self._sparing(ready, "turns cannot be shown now: %s"):
                self._serve(ready)

    def _next(self) -> list[Channel] | None:
        """Those that something is to be done about; None when nobody has watched anything for a while."""
        with self._wake:
            while True:
                now = time.monotonic()
                ready = [channel for channel in self._channels.values() if channel.due <= now]
                if ready:
                    return ready
                self._until = min((channel.due for channel in self._channels.values()), default=now + _IDLE)
                if not self._wake.wait(self._until - now) and not self._channels:
                    self._thread = None
                    return None

    @contextmanager
    def _sparing(self, channels: Iterable[Channel], problem: str, *about: object) -> Iterator[None]:
        """Whatever is raised inside is logged, and holds up these only."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - all other browsers hang on this thread
            level = logging.WARNING if isinstance(error, DatabaseError) else logging.ERROR
            _log.log(level, problem, *about, error, exc_info=True)
            with self._wake:
                for channel in channels:
                    channel.leave_alone(_AFTER_TROUBLE)

    def _serve(self, ready: Iterable[Channel]) -> None:
        with self._wake:
            now = time.monotonic()
            begun = [(channel, *channel.begin(now)) for channel in ready]
            looking = [channel for channel, looks, _ in begun if looks or channel.lost]
        rows = self._look(looking) if looking else {}
        for channel, _, dirty in begun:
            drawing = None
            # A template of the host's own can raise, say.
            with self._sparing([channel], "the turn of %s cannot be drawn: %s", channel.target):
                drawing = channel.draw(dirty, rows.get(channel))
            with self._wake:
                if drawing is not None:
                    channel.show(drawing)
                if channel.over and self._channels.get(channel.target) is channel:
                    del self._channels[channel.target]

    def _look(self, channels: list[Channel]) -> dict[Channel, Row]:
        """The rows that have changed."""
        tables: defaultdict[object, list[Channel]] = defaultdict(list)
        for channel in channels:
            tables[channel.target.table].append(channel)
        rows: dict[Channel, Row] = {}
        with connected():
            for channel in [each for table in tables.values() for each in self._changed(table)]:
                with self._sparing([channel], "the row of %s cannot be read now: %s", channel.target):
                    row = row_of(channel.target)
                    if row is not None:
                        rows[channel] = row
                    else:
                        with self._wake:
                            channel.end("gone")
        return rows

    def _changed(self, channels: Sequence[Channel]) -> list[Channel]:
        """Those of one table whose rows are not as they were."""
        with self._sparing(channels, "the rows of turns cannot be looked at now: %s"):
            heads = heads_of([channel.target for channel in channels])
            return [each for each in channels if each.target not in heads or heads[each.target] != each.head]
        return []


hub = Hub()


def _target(sender: type[models.Model], facts: dict[str, Any]) -> Target:
    return Target(table_model(sender), facts["pk"], facts["using"])


def _changed(sender: type[models.Model], *, reply: Reply, change: Change, **facts: Any) -> None:
    hub.changed(_target(sender, facts), reply, change)


def _started(sender: type[models.Model], **facts: Any) -> None:
    hub.stirred(_target(sender, facts))


def _asked(sender: type[models.Model], **facts: Any) -> None:
    hub.stirred(_target(sender, facts), eagerly=True)


def _finished(sender: type[models.Model], **facts: Any) -> None:
    hub.finished(_target(sender, facts))


turn_changed.connect(_changed, dispatch_uid="opencode_sessions.django.live")
turn_started.connect(_started, dispatch_uid="opencode_sessions.django.live")
turn_asked.connect(_asked, dispatch_uid="opencode_sessions.django.live")
turn_answered.connect(_asked, dispatch_uid="opencode_sessions.django.live")
turn_finished.connect(_finished, dispatch_uid="opencode_sessions.django.live")


def _after_fork() -> None:
    """A child has not the thread, and nobody watches there yet."""
    hub.__init__()  # type: ignore[misc]  # the signals are connected to this very one


os.register_at_fork(after_in_child=_after_fork)
