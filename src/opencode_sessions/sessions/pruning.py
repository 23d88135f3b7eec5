"""Finding the sessions on a server that rows of ours were to have and none names any more, and deleting them.

    list     sessions of all directories, a page at a time
      ▼
    sift     made by us for one of the tables, not used for the grace period
      ▼
    ask      which of those does a row name?
      ▼
    remove   the others: stop, delete

This is safe beside live traffic, without any lock, since it lists first and asks then. A row names an id, and that
is committed, before the session is made; an id that it once ceased to name is never written into a row again. So a
session that was listed, and that no row names after that, will never be named: nothing can come between.

Made by us is what bears the mark of the namespace and the table in its id, which only the lifecycle gives it. Where a
session has metadata, they must say the same; one that a crash left without any is found by its mark alone. A fork
gets its id from the server, and with it no mark: though it keeps the metadata of what it was forked from, it belongs
to whoever forked it, and is left alone. Nor has a sub-agent's session a mark: it goes with its parent.

Two databases that share a server, a namespace and the name of a table make the same marks, so each takes the other's
sessions for its own leftovers. Therefore nothing is deleted unless the caller gives a namespace.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from opencode_sessions.errors import ConfigurationError, WireError
from opencode_sessions.protocol.ids import DEFAULT_NAMESPACE, mark_of, marked
from opencode_sessions.protocol.values import SessionInfo
from opencode_sessions.reporting import ErrorContext, ErrorReporter, OnError
from opencode_sessions.runtime.stepping import blocking_iterator
from opencode_sessions.sessions.deletion import remove
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.sessions.servers import Servers, wires_of
from opencode_sessions.store.index import SessionIndex
from opencode_sessions.validation import require
from opencode_sessions.wire.clients import AsyncClient, Client, blocking_wire, suspending_wire

__all__ = ["AsyncPruner", "Leftover", "PruneWire", "Pruner", "Pruning"]

_PAGE = 100

_WHOLE_SECONDS = 2.0
"""The server says its time in whole seconds: a smaller difference of two clocks is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A session of ours that no row names.

    Attributes:
        record: The key of the row that it was made for, such as ``"conversations:42"``; None if its maker died
            before it had said so.
        updated: When it was last prompted or changed; with `created` in UTC, by the server's clock.
        deleted: It is gone from the server now.
        server: Which of several servers has it, by name.
    """

    session_id: str
    title: str
    record: str | None
    created: datetime
    updated: datetime
    deleted: bool = False
    server: str | None = None


class PruneWire(SessionWire, Protocol):
    """What pruning asks of a server."""

    def list(self, *, all_directories: bool, page_size: int) -> AsyncIterator[SessionInfo]:
        """See `Api.list`."""

    async def clock_difference(self) -> float | None:
        """See `Calls.clock_difference`."""


class Pruning:
    """The walk above, over indexes and a wire that block or suspend."""

    def __init__(
        self,
        indexes: Sequence[SessionIndex],
        *,
        namespace: str | None,
        grace: timedelta,
        on_error: OnError | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not indexes:
            raise ConfigurationError("a Pruner needs an index of each table whose sessions it is to look at")
        require(isinstance(grace, timedelta), "grace must be a timedelta, such as timedelta(days=7)", grace)
        require(namespace is None or isinstance(namespace, str), "namespace must be a text", namespace)
        if grace < timedelta():
            raise ConfigurationError(f"the grace period cannot be negative: {grace}")
        self.scanned = 0
        self.of_other_tables = 0
        self._indexes = indexes
        self._tables = {index.table for index in indexes}
        self._namespace = DEFAULT_NAMESPACE if namespace is None else namespace
        self._may_delete = namespace is not None
        self._grace = grace
        self._report = ErrorReporter(on_error)
        self._now = now

    def check_may_delete(self) -> None:
        """See `Pruner.check_may_delete`."""
        if not self._may_delete:
            raise ConfigurationError(
                f"nothing is deleted, as no namespace was given. Every project that gives none uses "
                f"{DEFAULT_NAMESPACE!r}, so live sessions of another project on this server would be deleted. Give "
                'each project its own: OPENCODE["NAMESPACE"] in Django, else namespace=… of Session and Pruner, and '
                f"--namespace of the command. If no other project uses this server, give {DEFAULT_NAMESPACE!r}"
            )

    async def walk(self, wires: Mapping[str | None, PruneWire], *, delete: bool) -> AsyncIterator[Leftover]:
        """The leftovers of each server, newest first, each deleted before it is told of if that is wanted.

        A server that cannot be asked does not keep the others from being looked at; its error is raised at the end.
        """
        if delete:
            self.check_may_delete()
        self.scanned = self.of_other_tables = 0
        failed: WireError | None = None
        for name, wire in wires.items():
            try:
                async for leftover in self._walk_one(wire, delete=delete):
                    yield replace(leftover, server=name)
            except WireError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    async def _walk_one(self, wire: PruneWire, *, delete: bool) -> AsyncIterator[Leftover]:
        before = (await self._server_time(wire) - self._grace.total_seconds()) * 1000
        async for page in _pages(wire):
            old = [info for info in page if self._is_of_our_tables(info) and info.updated < before]
            named = await self._named([info.id for info in old])
            for info in old:
                if info.id not in named:
                    yield _leftover(info, deleted=delete and await self._remove(wire, info))

    async def _server_time(self, wire: PruneWire) -> float:
        """Seconds since 1970 by the server's clock, which says when a session was used."""
        ahead = await wire.clock_difference() or 0.0
        return self._now() + (ahead if abs(ahead) > _WHOLE_SECONDS else 0.0)

    def _is_of_our_tables(self, info: SessionInfo) -> bool:
        """Was it made for a row of one of them?"""
        self.scanned += 1
        if not info.metadata:
            return any(self._is_marked(info, table) for table in self._tables)
        record = info.metadata.get("record")
        if info.metadata.get("namespace") != self._namespace or not isinstance(record, str):
            return False
        table = record.partition(":")[0]
        if not self._is_marked(info, table):
            return False
        if table not in self._tables:
            self.of_other_tables += 1
        return table in self._tables

    def _is_marked(self, info: SessionInfo, table: str) -> bool:
        return marked(info.id, mark_of(self._namespace, table))

    async def _named(self, session_ids: Sequence[str]) -> set[str]:
        """Which of these rows name: of any of the tables, as a row may have been moved to another."""
        named: set[str] = set()
        for index in self._indexes if session_ids else ():
            named |= await index.named(session_ids)
        return named

    async def _remove(self, wire: PruneWire, info: SessionInfo) -> bool:
        """Is it gone? What went wrong is reported."""
        record = _record(info) or "no row"
        try:
            for error in await remove(wire, info.id):
                self._report(error, ErrorContext("reject_asks", record, info.id))
        except Exception as error:  # noqa: BLE001 - one that cannot be deleted does not keep the others
            self._report(error, ErrorContext("prune", record, info.id))
            return False
        return True


class _Pruner:
    """What the sync and the async class have in common."""

    def __init__(
        self,
        *indexes: SessionIndex,
        namespace: str | None = None,
        grace: timedelta = timedelta(hours=24),
        on_error: OnError | None = None,
    ) -> None:
        self._core = Pruning(indexes, namespace=namespace, grace=grace, on_error=on_error)

    def check_may_delete(self) -> None:
        """Refuse what `delete` would refuse.

        Raises:
            ConfigurationError: No namespace was given, so others' sessions cannot be told from ours.
        """
        self._core.check_may_delete()

    @property
    def scanned(self) -> int:
        """How many sessions this walk, or the last one, has looked at so far."""
        return self._core.scanned

    @property
    def of_other_tables(self) -> int:
        """How many of those were of this namespace, but of tables that were not given: they are left alone."""
        return self._core.of_other_tables


class Pruner(_Pruner):
    """Finds sessions that no row names any more, and deletes them if asked to. One walk at a time.

    They are left by rows that were deleted without their sessions, and by crashes and failures of whatever was to
    delete them. It is safe beside live traffic. A walk may be ended at any point: by `break`, Ctrl-C or a crash; the
    next one goes on from what is there.

    Only sessions with an id that `Session` chose for this namespace and one of these tables are looked at.
    **Two databases that share a server need two namespaces**: with the same one and tables of the same name, each
    would take the other's sessions for its own leftovers. So `delete` wants a namespace. After a database was
    restored from a backup, look before you delete.

    Args:
        indexes: One of each table; of a table that is spread over several databases, one of each of those.
            See `opencode_sessions.sqlalchemy.SQLAlchemyIndex`, `opencode_sessions.django.DjangoIndex`.
        namespace: As it was given to `Session`. Without it, those of the default namespace are found, and none can
            be deleted.
        grace: How long a session must not have been used; by the server's clock.
        on_error: Called as `on_error(error, context)` when one cannot be deleted; else that is logged.

    Raises:
        ConfigurationError: There is no index, or the grace period is none or negative.
    """

    _walk = blocking_iterator(Pruning.walk)

    def find(self, client: Client | Servers[Client]) -> Iterator[Leftover]:
        """The leftovers, newest first, found as you go on.

        Raises:
            WireError: Sessions could not be listed.
            OpenTransactionError: A transaction is open around the call.
        """
        return self._walk(wires_of(client, blocking_wire), delete=False)

    def delete(self, client: Client | Servers[Client]) -> Iterator[Leftover]:
        """The same, each stopped and deleted before you get it; how that went is in its `deleted`.

        Raises:
            ConfigurationError: No namespace was given; see `check_may_delete`.
            WireError: Sessions could not be listed. What goes wrong with one goes to `on_error`.
            OpenTransactionError: A transaction is open around the call.
        """
        return self._walk(wires_of(client, blocking_wire), delete=True)


class AsyncPruner(_Pruner):
    """`Pruner` for asyncio: the same arguments, with indexes that suspend."""

    def find(self, client: AsyncClient | Servers[AsyncClient]) -> AsyncIterator[Leftover]:
        """See `Pruner.find`."""
        return self._core.walk(wires_of(client, suspending_wire), delete=False)

    def delete(self, client: AsyncClient | Servers[AsyncClient]) -> AsyncIterator[Leftover]:
        """See `Pruner.delete`."""
        return self._core.walk(wires_of(client, suspending_wire), delete=True)


async def _pages(wire: PruneWire) -> AsyncIterator[list[SessionInfo]]:
    """What the server has, in the pages in which it is fetched: none is fetched before it is asked for."""
    page: list[SessionInfo] = []
    async for info in wire.list(all_directories=True, page_size=_PAGE):
        page.append(info)
        if len(page) == _PAGE:
            yield page
            page = []
    yield page


def _leftover(info: SessionInfo, *, deleted: bool) -> Leftover:
    return Leftover(
        session_id=info.id,
        title=info.title,
        record=_record(info),
        created=_moment(info.created),
        updated=_moment(info.updated),
        deleted=deleted,
    )


def _record(info: SessionInfo) -> str | None:
    record: str | None = info.metadata.get("record")
    return record


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
