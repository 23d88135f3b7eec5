"""`hub`: all turns that are watched in this process, and the threads that look at their rows and draw them.

One thread looks, as one query tells of many rows. Several draw: the interpreter shares the processor among them, so a
turn that takes long to draw does not hold up the others.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from random import uniform
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from django.contrib.auth.signals import user_logged_out
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
from opencode_sessions.django.tenants import inside
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.runtime.shutdown import on_signal

__all__ = ["Hub", "hub"]

_log = logging.getLogger("opencode_sessions.django")

_IDLE = 5.0
_AFTER_TROUBLE = 2.0

_SPREAD = 0.75
"""Of the longest time, that a stream lasts at least: streams that began together end one after another."""

_DOUBT, _SHORTLY = 10.0, 1.0
"""Django tells of a logout before it ends the login, and a process that is told to end may still get requests. So for
some seconds new streams are short ones."""

_DRAWING = 8
"""Threads that draw. Each turn is drawn a tenth of the time at most, so these suffice for many that take long."""

_Job: TypeAlias = tuple[Channel, AbstractSet[str], Row | None]
_Jobs: TypeAlias = "SimpleQueue[_Job | None]"


class Hub:
    """Hands what happens to turns to those who watch them.

    The signals come in the threads that run turns: they only note what has changed.
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._running: WeakValueDictionary[Target, Reply] = WeakValueDictionary()
        self._channels: dict[Target, Channel] = {}
        self._logged_out: dict[Hashable, float] = {}
        self._ended = float("-inf")
        self._thread: threading.Thread | None = None
        self._until = 0.0

    def watch(
        self,
        target: Target,
        row: Row,
        around: Surroundings,
        *,
        has: int | None,
        wake: Callable[[], None],
        who: Hashable = None,
        seconds: float = 60.0,
    ) -> Watch:
        """Watch a turn, until `leave`.

        Args:
            target: Its row.
            row: As it was just read.
            around: What the row does not tell.
            has: The revision that the browser shows already.
            wake: Called, from any thread, when there may be news: ask for `news`.
            who: The key of the user who watches, if one is logged in.
            seconds: For how long at most.
        """
        while True:
            channel = self._channels.get(target)
            if channel is None:
                channel = Channel(target, row, around)
            with self._wake:
                self._run_if_needed()
                if self._channels.setdefault(target, channel) is channel:
                    # Read after the channel can be found: `changed` writes it before it looks for a channel.
                    if not channel.watches and (reply := self._running.get(target)) is not None:
                        channel.follow(reply)
                    watch = Watch(channel, has, wake, who=who, until=self._end_of(who, seconds))
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

    def _end_of(self, who: Hashable, seconds: float) -> float:
        now = time.monotonic()
        if now - max(self._logged_out.get(who, self._ended), self._ended) < _DOUBT:
            seconds = min(seconds, _SHORTLY)
        return now + seconds * uniform(_SPREAD, 1)  # noqa: S311 - no secret

    def end(self) -> None:
        """The process is told to end: all streams end, soon, and browsers connect again, to the next process.

        It is called by a signal handler, which may have interrupted what holds the lock. So it is done in a thread.
        """
        with suppress(RuntimeError):  # no thread can be started: they end by themselves
            threading.Thread(target=self._end_all, name="opencode-sessions end", daemon=True).start()

    def _end_all(self) -> None:
        with self._wake:
            self._ended = now = time.monotonic()
            self._end_streams(now, lambda _: True)

    def _end_streams(self, now: float, ends: Callable[[Watch], bool]) -> None:
        for watch in [watch for channel in self._channels.values() for watch in channel.watches]:
            if ends(watch):
                watch.until = now
                watch.wake()

    # What the signals say, in whatever thread.

    def logged_out(self, who: Hashable) -> None:
        """A user has logged out: their streams end, here and now."""
        with self._wake:
            now = time.monotonic()
            self._logged_out = {
                key: at for key, at in [*self._logged_out.items(), (who, now)] if now - at < _DOUBT
            }
            self._end_streams(now, lambda watch: watch.who == who)

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

    # The threads.

    def _hurry(self, channel: Channel) -> None:
        if channel.due < self._until:
            self._wake.notify()

    def _run_if_needed(self) -> None:
        if self._thread is not None:
            self._wake.notify()
            return
        jobs: _Jobs = SimpleQueue()
        try:
            for _ in range(_DRAWING):
                self._start(self._keep_drawing, jobs, "opencode-sessions drawing")
            self._thread = self._start(self._run, jobs, "opencode-sessions live")
        except RuntimeError:  # there can be no more threads: the next browser tries it again
            self._dismiss(jobs)
            raise

    @staticmethod
    def _start(target: Callable[[_Jobs], None], jobs: _Jobs, name: str) -> threading.Thread:
        thread = threading.Thread(target=target, args=(jobs,), name=name, daemon=True)
        thread.start()
        return thread

    @staticmethod
    def _dismiss(jobs: _Jobs) -> None:
        for _ in range(_DRAWING):
            jobs.put(None)

    def _run(self, jobs: _Jobs) -> None:
        while (ready := self._next()) is not None:
            with self._sparing(ready, "turns cannot be shown now: %s"):
                self._serve(ready, jobs)
        self._dismiss(jobs)

    def _keep_drawing(self, jobs: _Jobs) -> None:
        while (job := jobs.get()) is not None:
            self._draw(*job)

    def _next(self) -> list[Channel] | None:
        """Those that something is to be done about; None when nobody has watched anything for a while."""
        with self._wake:
            while True:
                now = time.monotonic()
                ready = [channel for channel in self._channels.values() if channel.due <= now]
                if ready:
                    return ready
                self._until = min([now + _IDLE, *(channel.due for channel in self._channels.values())])
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

    def _serve(self, ready: Iterable[Channel], jobs: _Jobs) -> None:
        with self._wake:
            now = time.monotonic()
            begun = [(channel, *channel.begin(now)) for channel in ready]
            looking = [channel for channel, looks, _ in begun if looks or channel.lost]
        rows = self._look(looking) if looking else {}
        for channel, _, dirty in begun:
            row = rows.get(channel)
            if not dirty and row is None and channel.picture.drawing is not None:
                self._draw(channel, dirty, row)  # there is nothing to render
                continue
            with self._wake:
                channel.drawing = True
            jobs.put((channel, dirty, row))

    def _draw(self, channel: Channel, dirty: AbstractSet[str], row: Row | None) -> None:
        drawing = None
        # A template of the host's own can raise, say, and can query.
        with (
            self._sparing([channel], "the turn of %s cannot be drawn: %s", channel.target),
            connected(),
            inside(channel.target.tenant),
        ):
            drawing = channel.draw(dirty, row)
        with self._wake:
            channel.drawing = False
            if drawing is not None:
                channel.show(drawing)
            if channel.over and self._channels.get(channel.target) is channel:
                del self._channels[channel.target]
            self._hurry(channel)

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
    return Target(table_model(sender), facts["pk"], facts["using"], facts["tenant"])


def _changed(sender: type[models.Model], *, reply: Reply, change: Change, **facts: Any) -> None:
    hub.changed(_target(sender, facts), reply, change)


def _started(sender: type[models.Model], **facts: Any) -> None:
    hub.stirred(_target(sender, facts))


def _asked(sender: type[models.Model], **facts: Any) -> None:
    hub.stirred(_target(sender, facts), eagerly=True)


def _finished(sender: type[models.Model], **facts: Any) -> None:
    hub.finished(_target(sender, facts))


def _logged_out(sender: Any, *, user: Any, **_: Any) -> None:  # noqa: ARG001 - the signal has it
    if user is not None:
        hub.logged_out(user.pk)


turn_changed.connect(_changed, dispatch_uid="opencode_sessions.django.live")
turn_started.connect(_started, dispatch_uid="opencode_sessions.django.live")
turn_asked.connect(_asked, dispatch_uid="opencode_sessions.django.live")
turn_answered.connect(_asked, dispatch_uid="opencode_sessions.django.live")
turn_finished.connect(_finished, dispatch_uid="opencode_sessions.django.live")
user_logged_out.connect(_logged_out, dispatch_uid="opencode_sessions.django.live")


def _after_fork() -> None:
    """A child has not the thread, and nobody watches there yet."""
    hub.__init__()  # type: ignore[misc]  # the signals are connected to this very one


for number in (signal.SIGTERM, signal.SIGINT):
    on_signal(number, hub.end)
os.register_at_fork(after_in_child=_after_fork)
