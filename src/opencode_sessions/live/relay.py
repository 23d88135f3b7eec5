"""`Relay`: sends notes about the turns of this process, and receives notes about those of others.

    a turn that runs here ──► tell ──► outbox ──► Sender ═══ Valkey, PostgreSQL ═══ Receiver ──► follow ──► watchers

One task or thread sends, another one receives. Both reconnect when the connection breaks; until then, the followers of
a row poll it. A connection counts only after one of its own notes has come back: a transaction pooler of PostgreSQL,
for example, accepts LISTEN and delivers nothing.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import uniform
from typing import TypeAlias, TypeVar

from opencode_sessions.live.notes import Heard, Note, RowWritten, Standing, decode, encode, topic_of
from opencode_sessions.live.notifier import Arrived, Notifier, Receiver, Sender
from opencode_sessions.live.outbox import Outbox
from opencode_sessions.live.teller import Teller
from opencode_sessions.runtime.forks import renew_in_children
from opencode_sessions.runtime.ports import Bell, Runtime
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.store.turn_table import RowKey
from opencode_sessions.validation import require

__all__ = ["Follower", "Relay"]

_log = logging.getLogger("opencode_sessions.live")

_GAP = 0.03
"""The shortest time between two requests that send, in seconds, so that deltas join. Pages change every 0.1 s."""

_RECEIVE = 5.0
_PROBE, _SILENCE = 10.0, 25.0
"""Seconds between two notes of its own, and the time without one after which a connection is closed."""

_PAUSES = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to connect."""

_LASTS = 10.0
"""If a connection lasted longer than this many seconds, the next attempt comes soon."""

_FLUSH = 1.0

Follower: TypeAlias = Callable[[Heard], None]


C = TypeVar("C", Sender, Receiver)


@dataclass(frozen=True, slots=True)
class _Bells:
    """The bells of the sender, the receiver, and the caller that waits for their end."""

    outbox: Bell
    sender: Bell
    receiver: Bell
    flushed: Bell


class Relay:
    """Sends and receives notes. A process has one relay.

    Args:
        notifier: Carries the notes; None: they stay in this process.
        runtime: `Threads` uses two threads, from the first note on; `Tasks` uses two tasks of the event loop that runs
            then.

    Raises:
        ConfigurationError: This is not a notifier, or it cannot work with this runtime.
    """

    def __init__(self, notifier: Notifier | None, runtime: Runtime) -> None:
        self._notifier = notifier
        self._runtime = runtime
        self._suspends = isinstance(runtime, Tasks)
        if notifier is not None:
            fits = hasattr(notifier, "sender") and hasattr(notifier, "receiver")
            require(fits, "notifier must be one, such as ValkeyNotifier(url)", notifier)
            notifier.sender(suspends=self._suspends)  # which needs its package
        self._renew()
        renew_in_children(self, Relay._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._origin = secrets.token_hex(8)
        self._outbox = Outbox()
        self._followers: defaultdict[str, list[Follower]] = defaultdict(list)
        self._coming: set[str] = set()  # topics whose notes arrive, if any do
        self._proven = self._troubled = self._closes = False
        self._heard_at = 0.0
        self._bells: _Bells | None = None  # while it works

    # Notes of this process, from any thread.

    def teller(self, key: RowKey) -> Teller:
        """The teller for a turn that runs here."""
        return Teller(partial(self.tell, key), to_others=self._notifier is not None)

    def tell(self, key: RowKey, note: Note) -> None:
        """Send a note to others. It never waits, and never raises."""
        topic = topic_of(key)
        if isinstance(note, RowWritten) and note.revision is None:
            self._hand_out(topic, note)
        if self._notifier is not None:
            with suppress(RuntimeError):  # there can be no thread, or there is no event loop: others poll
                self._run_if_needed()
                self._put(topic, note)

    def follow(self, key: RowKey, follower: Follower) -> Callable[[], None]:
        """Receive the notes of a row, until the returned function is called.

        Args:
            key: The row.
            follower: Called in any thread with the notes of others, and with `Standing` when notes begin or cease to
                arrive. From this process it gets only `RowWritten` without a revision. It must be quick, and must not
                raise.
        """
        topic = topic_of(key)
        with self._lock:
            self._followers[topic].append(follower)
            stands = self._proven and topic in self._coming
        if stands:
            follower(Standing(True))
        elif self._notifier is not None:
            with suppress(RuntimeError):
                self._run_if_needed()
                self._wake_receiver()
        return partial(self._unfollow, topic, follower)

    @contextmanager
    def steering(self, key: RowKey, row_written: Callable[[], object]) -> Iterator[None]:
        """Within the block, `row_written` is called when another process may have written the row."""

        def hear(heard: Heard) -> None:
            if isinstance(heard, RowWritten):
                row_written()

        unfollow = self.follow(key, hear)
        try:
            yield
        finally:
            unfollow()

    async def close(self) -> None:
        """Send the waiting notes, for at most a second, and disconnect. The relay can be used again afterwards."""
        bells = self._bells
        if bells is not None:
            self._closes = True
            self._wake_receiver()
            for bell in (bells.sender, bells.receiver):
                bell.ring()
            await bells.flushed.wait(_FLUSH)
            await self._runtime.join(_FLUSH)
            self._renew()

    def _unfollow(self, topic: str, follower: Follower) -> None:
        with self._lock:
            followers = self._followers.get(topic, [])
            if follower in followers:
                followers.remove(follower)
            if not followers:
                self._followers.pop(topic, None)

    def _put(self, topic: str, note: Note) -> None:
        with self._lock:
            self._outbox.put(topic, note)
        if self._bells is not None:
            self._bells.outbox.ring()

    def _wake_receiver(self) -> None:
        """Wake the receiver by a note to itself. That note also shows that the connection works."""
        self._put(self._origin, RowWritten())

    def _run_if_needed(self) -> None:
        with self._lock:
            if self._bells is not None or self._closes:
                return
            bells = self._bells = _Bells(*(self._runtime.bell() for _ in range(4)))
        try:
            self._runtime.spawn(lambda: self._send_all(bells), "opencode-sessions notes out", joined=True)
            self._runtime.spawn(lambda: self._receive_all(bells), "opencode-sessions notes in", joined=True)
        except RuntimeError:
            self._bells = None
            raise

    # Each in a task or thread of its own.

    async def _send_all(self, bells: _Bells) -> None:
        try:
            await self._keep(
                lambda: self._made.sender(suspends=self._suspends), partial(self._send, bells), bells.sender
            )
        finally:
            bells.flushed.ring()
            self._forget(bells)

    async def _receive_all(self, bells: _Bells) -> None:
        try:
            await self._keep(
                lambda: self._made.receiver(suspends=self._suspends), self._receive, bells.receiver
            )
        finally:
            self._forget(bells)

    def _forget(self, bells: _Bells) -> None:
        """Forget this work, because its event loop may end; in another loop it begins again."""
        if self._bells is bells:
            self._bells = None

    async def _keep(self, make: Callable[[], C], use: Callable[[C], Awaitable[None]], pause: Bell) -> None:
        """Keep a connection open until the relay is closed; once also if that comes before, as notes may wait."""
        tries = 0
        while True:
            connection, began = make(), self._runtime.monotonic()
            try:
                await connection.open()
                await use(connection)
            except Exception as error:  # noqa: BLE001 - a driver may raise anything; until then the rows are polled
                self._trouble(error)
            finally:
                await connection.close()
            if not self._closes:
                tries = 0 if self._runtime.monotonic() - began > _LASTS else min(tries + 1, len(_PAUSES) - 1)
                await pause.wait(_PAUSES[tries] * uniform(0.5, 1))  # noqa: S311 - no secret
            if self._closes:
                return

    async def _send(self, bells: _Bells, sender: Sender) -> None:
        probed = self._runtime.monotonic()
        while await self._flush(sender) or not self._closes:
            if (now := self._runtime.monotonic()) - probed >= _PROBE:
                probed = now
                self._wake_receiver()
            await bells.sender.wait(_GAP)
            await bells.outbox.wait(probed + _PROBE - now)

    async def _flush(self, sender: Sender) -> bool:
        """Send the waiting notes. True if there were any."""
        with self._lock:
            waiting = self._outbox.take()
        if waiting:
            await sender.send([(topic, encode(note, self._origin)) for topic, note in waiting])
        return bool(waiting)

    async def _receive(self, receiver: Receiver) -> None:
        followed: set[str] = set()
        self._heard_at = self._runtime.monotonic()
        try:
            while not self._closes:
                with self._lock:
                    wanted = {self._origin, *self._followers}
                if more := wanted - followed:
                    await receiver.follow(more)
                if gone := followed - wanted:
                    await receiver.unfollow(gone)
                    self._coming -= gone
                followed = wanted
                for arrived in await receiver.receive(_RECEIVE):
                    self._take(arrived)
                if self._runtime.monotonic() - self._heard_at > _SILENCE:
                    raise ConnectionError(
                        f"nothing has come back for {_SILENCE:g} s. PostgreSQL needs a direct connection: a "
                        "transaction pooler delivers no notifications"
                    )
        finally:
            self._proven, self._coming = False, set()
            self._tell_all(Standing(False))

    def _take(self, arrived: Arrived) -> None:
        topic, told = arrived
        if topic == self._origin:
            if told is None:
                self._wake_receiver()
            else:
                self._prove()
        elif told is None:
            self._coming.add(topic)
            if self._proven:
                self._hand_out(topic, Standing(True))
        elif (found := decode(told)) is not None and found[0] != self._origin:
            self._hand_out(topic, found[1])

    def _prove(self) -> None:
        """Note that the connection delivers notes."""
        self._heard_at = self._runtime.monotonic()
        if not self._proven:
            self._proven = True
            if self._troubled:
                self._troubled = False
                _log.info("processes notify each other again")
            for topic in self._coming:
                self._hand_out(topic, Standing(True))

    def _trouble(self, error: Exception) -> None:
        """Log an error once, until notes arrive again."""
        if not self._troubled:
            self._troubled = True
            _log.warning("processes cannot notify each other now, so rows are polled: %s", error)

    def _hand_out(self, topic: str, heard: Heard) -> None:
        with self._lock:
            followers = [*self._followers.get(topic, ())]
        for follower in followers:
            follower(heard)

    def _tell_all(self, heard: Heard) -> None:
        with self._lock:
            topics = [*self._followers]
        for topic in topics:
            self._hand_out(topic, heard)

    @property
    def _made(self) -> Notifier:
        if self._notifier is None:
            raise RuntimeError("there is no notifier")
        return self._notifier
