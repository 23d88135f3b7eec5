"""`shared`: the connections that the turns of this process use one after the other.

To open one takes ten times as long as what a turn asks over it. So while two or more turns are at work here, a
connection that one of them gives back is kept for the next one, in whatever thread. A turn that is alone keeps none.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from opencode_sessions.django.tenants import has_contexts
from opencode_sessions.runtime.forks import renew_in_children

__all__ = ["SharedConnections", "borrowed", "give_back_connections", "in_transaction", "is_pooled", "shared"]

_MOST = 4
"""Connections that are kept for a database. More are in use for a moment only, when many turns begin at once."""

_FRESH = 1.0
"""Seconds after which an unused connection is closed: the database, or a firewall, may have ended it."""

_inherited: list[_Kept] = []
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
        _inherited.extend(kept for those in self._kept.values() for kept in those)
        self._kept.clear()
        self._lock = threading.Lock()
        self._turns = 0

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
                left = [] if self._turns > 1 else [kept for those in self._kept.values() for kept in those]
                if left:
                    self._kept.clear()
            for kept in left:
                kept.connection.close()

    def serves(self, using: str) -> bool:
        """Are connections to this database shared now?

        A connection inside a tenant's context is not, as the context holds for its own thread.
        """
        return (
            self._turns > 1
            and bool(connections[using].settings_dict["AUTOCOMMIT"])
            and not has_contexts(using)
        )

    @contextmanager
    def lent(self, using: str) -> Iterator[BaseDatabaseWrapper]:
        """Inside, this thread uses a shared connection. After an error it is closed, as it may be broken."""
        own = connections[using]
        connections[using] = connection = self._take(using)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        finally:
            connections[using] = own
            self._keep(using, connection)

    def _take(self, using: str) -> BaseDatabaseWrapper:
        now = time.monotonic()
        with self._lock:
            those = self._kept[using]
            stale = [kept for kept in those if now - kept.since > _FRESH]
            those[:] = those[len(stale) :]  # the newest is the last
            found = those.pop() if those else None
        for kept in stale:
            kept.connection.close()
        if found is not None:
            return found.connection
        connection = connections.create_connection(using)
        connection.inc_thread_sharing()
        return connection

    def _keep(self, using: str, connection: BaseDatabaseWrapper) -> None:
        if is_pooled(connection) or in_transaction(connection):
            connection.close()
        with self._lock:
            keep = connection.connection is not None and self._turns > 1 and len(self._kept[using]) < _MOST
            if keep:
                self._kept[using].append(_Kept(connection))
        if not keep:
            connection.close()


shared = SharedConnections()


@contextmanager
def borrowed(using: str) -> Iterator[None]:
    """Use a database, then give its connection back, so that a turn does not keep it.

    A connection that was opened inside is treated as at the end of a request, by `CONN_MAX_AGE`, or kept for the other
    turns of this process. A connection that the caller had stays open, except that one from a pool goes back to it.
    """
    connection = transaction.get_connection(using)
    ours = connection.connection is None
    if ours and shared.serves(using):
        with shared.lent(using):
            yield
        return
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
        if not connection.in_atomic_block:
            connection.close()


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Does the caller have a transaction open there?"""
    if connection.in_atomic_block:
        # The transaction around each test of a TestCase does not count, as for Django's own durable blocks.
        return not getattr(connection.atomic_blocks[-1], "_from_testcase", False)
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit
