"""The database connections of the library's own threads: `borrowed` for one use, or `shared` by turns.

To open one takes ten times as long as what a turn asks over it. So while two or more turns are at work in this process,
a connection is kept for the next statement of any of them, in whatever thread. A turn that is alone keeps none. Only
the library's own statements run over a shared one: what a host's code sets for its session stays with its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from opencode_sessions.django.tenants import has_contexts
from opencode_sessions.runtime.forks import renew_in_children

__all__ = ["SharedConnections", "borrowed", "give_back_connections", "in_transaction", "is_pooled", "shared"]

_log = logging.getLogger("opencode_sessions.django")

_MOST = 4
"""Connections that are kept for a database. More are in use for a moment only, when many turns begin at once."""

_FRESH = 1.0
"""Seconds after which an unused connection is closed: the database, or a firewall, may have ended it."""

_CERTAIN = 0.1
"""Seconds after which a connection is tried before it is used again."""

_inherited: list[BaseDatabaseWrapper] = []
"""Of a parent process: a driver would end the parent's session if a forked child dropped its own reference."""


@dataclass(slots=True)
class _Kept:
    connection: BaseDatabaseWrapper
    since: float = field(default_factory=time.monotonic)


class SharedConnections:
    """Those of all databases of this process."""

    def __init__(self) -> None:
        self._kept: defaultdict[str, list[_Kept]] = defaultdict(list)
        self._renew()
        renew_in_children(self, lambda shared: shared._renew())  # noqa: SLF001 - its own

    def _renew(self) -> None:
        """As new, for a forked child."""
        self._lock = threading.Lock()
        self._turns = 0
        _inherited.extend(self._unused_for(0.0))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside, a turn is at work. When fewer than two are, all kept connections are closed."""
        with self._lock:
            self._turns += 1
        try:
            yield
        finally:
            with self._lock:
                self._turns = max(self._turns - 1, 0)  # a child may be forked inside
                left = self._unused_for(0.0) if self._turns <= 1 else []
            _close(*left)

    def serves(self, using: str) -> bool:
        """Is a statement of this thread to go over a shared connection?

        Not if the thread has a connection open, or has prepared one in its own way: with wrappers, or for a tenant.
        """
        if self._turns <= 1:
            return False
        own = connections[using]
        return (
            own.connection is None
            and not own.execute_wrappers
            and own.settings_dict is connections.settings[using]
            and bool(own.settings_dict["AUTOCOMMIT"])
            and not has_contexts(using)
        )

    @contextmanager
    def lent(self, using: str) -> Iterator[BaseDatabaseWrapper]:
        """Inside, this thread uses a shared connection. After a database's error, none that was kept is used again."""
        own = connections[using]
        connections[using] = connection = self._take(using)
        try:
            yield connection
        except BaseException as error:
            _close(connection)
            if isinstance(error, Error):
                self._drop(using)
            raise
        else:
            self._keep(using, connection)
        finally:
            connections[using] = own

    def _take(self, using: str) -> BaseDatabaseWrapper:
        while True:
            with self._lock:
                stale = self._unused_for(_FRESH)
                kept = self._kept[using].pop() if self._kept[using] else None
            _close(*stale)
            if kept is None:
                connection = connections.create_connection(using)
                connection.inc_thread_sharing()
                return connection
            if time.monotonic() - kept.since < _CERTAIN or kept.connection.is_usable():
                return kept.connection
            _close(kept.connection)
            self._drop(using)

    def _keep(self, using: str, connection: BaseDatabaseWrapper) -> None:
        wanted = not (
            connection.connection is None
            or connection.errors_occurred
            or is_pooled(connection)
            or in_transaction(connection)
            or _is_old(connection)
        )
        with self._lock:
            kept = wanted and self._turns > 1 and len(self._kept[using]) < _MOST
            if kept:
                self._kept[using].append(_Kept(connection))
        if not kept:
            _close(connection)

    def _drop(self, using: str) -> None:
        with self._lock:
            kept = self._kept.pop(using, [])
        _close(*(each.connection for each in kept))

    def _unused_for(self, seconds: float) -> list[BaseDatabaseWrapper]:
        """Take those out, of all databases, that nobody has used for so long. Called under the lock."""
        until = time.monotonic() - seconds
        found = [kept.connection for those in self._kept.values() for kept in those if kept.since <= until]
        for those in self._kept.values():
            those[:] = [kept for kept in those if kept.since > until]
        return found


shared = SharedConnections()


@contextmanager
def borrowed(using: str, *, shares: bool = False) -> Iterator[None]:
    """Use a database, then give its connection back, so that a turn does not keep it.

    A connection that was opened inside is treated as at the end of a request, by `CONN_MAX_AGE`. A connection that the
    caller had stays open, except that one from a pool goes back to the pool.

    Args:
        using: The alias of the database.
        shares: Whether it may be a shared connection. No host's code may run inside.
    """
    if shares and shared.serves(using):
        with shared.lent(using):
            yield
        return
    connection = transaction.get_connection(using)
    ours = connection.connection is None
    try:
        yield
    finally:
        if is_pooled(connection) and not in_transaction(connection):
            connection.close()
        elif ours:
            connection.close_if_unusable_or_obsolete()


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Does closing this connection give it back to a pool?"""
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def give_back_connections() -> None:
    """Give back the connections of this thread, because the following work takes long and needs none.

    A connection with an open transaction, such as a test's, is left alone.
    """
    for connection in connections.all(initialized_only=True):
        by_hand = not connection.autocommit and connection.settings_dict["AUTOCOMMIT"]
        if not connection.in_atomic_block and not (connection.connection is not None and by_hand):
            connection.close()


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Does the caller have a transaction open there?"""
    if connection.in_atomic_block:
        # The transaction around each test of a TestCase does not count, as for Django's own durable blocks.
        return not getattr(connection.atomic_blocks[-1], "_from_testcase", False)
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def _is_old(connection: BaseDatabaseWrapper) -> bool:
    """Has it been open for `CONN_MAX_AGE`? Where that is 0, a connection is young until it is not shared."""
    limit = connection.settings_dict["CONN_MAX_AGE"]
    return bool(limit) and connection.close_at is not None and time.monotonic() >= connection.close_at


def _close(*those: BaseDatabaseWrapper) -> None:
    for connection in those:
        try:
            connection.close()
        except Exception as error:  # noqa: BLE001 - it is broken, and others wait to be closed
            _log.debug("a connection could not be closed: %s", error)
