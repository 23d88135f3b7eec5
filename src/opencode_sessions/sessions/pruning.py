"""Finding and deleting sessions on a server that were made for our rows and that no row names any more.

    list     sessions of all directories, a page at a time
      ▼
    filter   made by us for one of the tables, not used for the grace period
      ▼
    query    which of those does a row name?
      ▼
    remove   the others: stop, delete

This is safe with live traffic and needs no lock, because the sessions are listed before the rows are read. An id is
committed in a row before its session is created, and an id that a row has dropped is never written into a row again. So
a listed session that no row names afterwards will never be named.

A session is ours if its id has the mark of the namespace and the table, which only the lifecycle writes. If a session
has metadata, they must agree with the mark. If a crash left it without metadata, the mark alone counts. A fork gets its
id from the server, without a mark; it keeps its source's metadata, belongs to the caller that forked it, and is left
alone. A sub-agent's session has no mark either; it is deleted with its parent.

Two databases that share a server, a namespace and a table name make the same marks, so each would take the other's
sessions for leftovers. Therefore nothing is deleted unless the caller gives a namespace.
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
"""The server gives its time in whole seconds, so a smaller difference of two clocks does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A session of ours that no row names.

    Attributes:
        record: The key of the row for which it was made, such as ``"conversations:42"``; None if the process that made
            it died before it wrote the metadata.
        updated: When it was last prompted or changed. Like `created` in UTC, by the server's clock.
        deleted: Whether it was deleted.
        server: The name of the server that has it, if there are several.
    """

    session_id: str
    title: str
    record: str | None
    created: datetime
    updated: datetime
    deleted: bool = False
    server: str | None = None


class PruneWire(SessionWire, Protocol):
    """The calls that pruning makes to a server."""

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
        """The leftovers of each server, newest first. With `delete`, each is deleted before it is yielded.

        If a server cannot be reached, the others are still searched, and its error is raised at the end.
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
        """Seconds since 1970 by the server's clock, which dates the use of sessions."""
        ahead = await wire.clock_difference() or 0.0
        return self._now() + (ahead if abs(ahead) > _WHOLE_SECONDS else 0.0)

    def _is_of_our_tables(self, info: SessionInfo) -> bool:
        """Was the session made for a row of one of our tables?"""
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
        """The ids among these that rows name, in any of the tables, because a row may have moved to another table."""
        named: set[str] = set()
        for index in self._indexes if session_ids else ():
            named |= await index.named(session_ids)
        return named

    async def _remove(self, wire: PruneWire, info: SessionInfo) -> bool:
        """Remove the session. False if that failed; the error is reported."""
        record = _record(info) or "no row"
        try:
            for error in await remove(wire, info.id):
                self._report(error, ErrorContext("reject_asks", record, info.id))
        except Exception as error:  # noqa: BLE001 - reported; the next session follows
            self._report(error, ErrorContext("prune", record, info.id))
            return False
        return True


class _Pruner:
    """The common part of the sync and the async class."""

    def __init__(
        self,
        *indexes: SessionIndex,
        namespace: str | None = None,
        grace: timedelta = timedelta(hours=24),
        on_error: OnError | None = None,
    ) -> None:
        self._core = Pruning(indexes, namespace=namespace, grace=grace, on_error=on_error)

    def check_may_delete(self) -> None:
        """Raise the error that `delete` would raise.

        Raises:
            ConfigurationError: No namespace was given, so the sessions of other databases cannot be told from ours.
        """
        self._core.check_may_delete()

    @property
    def scanned(self) -> int:
        """How many sessions this walk, or the last one, has looked at so far."""
        return self._core.scanned

    @property
    def of_other_tables(self) -> int:
        """How many of those have this namespace, but belong to tables that were not given. They are left alone."""
        return self._core.of_other_tables


class Pruner(_Pruner):
    """Finds sessions that no row names any more, and deletes them on request. One walk at a time.

    Such sessions are left behind when a row is deleted without its session, or when a deletion fails or its process
    crashes. Pruning is safe with live traffic. A walk may end at any point, by `break`, Ctrl-C or a crash.

    Only sessions with an id that `Session` chose for this namespace and one of these tables are considered.
    **Two databases that share a server need two namespaces.** With one namespace and equal table names, each database
    would take the other's sessions for leftovers. So `delete` requires a namespace. After you have restored a database
    from a backup, look before you delete.

    Args:
        indexes: One for each table, and one for each database that holds a part of the table. See
            `opencode_sessions.sqlalchemy.SQLAlchemyIndex` and `opencode_sessions.django.DjangoIndex`.
        namespace: The namespace of `Session`. Without it, the sessions of the default namespace are found, and none can
            be deleted.
        grace: The time for which a session must not have been used, by the server's clock.
        on_error: Called as `on_error(error, context)` if a session cannot be deleted. Without it, the error is logged.

    Raises:
        ConfigurationError: There is no index, or the grace period is not positive.
    """

    _walk = blocking_iterator(Pruning.walk)

    def find(self, client: Client | Servers[Client]) -> Iterator[Leftover]:
        """The leftovers, newest first. The search goes on as the caller iterates.

        Raises:
            WireError: Sessions could not be listed.
            OpenTransactionError: A transaction is open around the call.
        """
        return self._walk(wires_of(client, blocking_wire), delete=False)

    def delete(self, client: Client | Servers[Client]) -> Iterator[Leftover]:
        """The leftovers, newest first, each stopped and deleted before it is yielded: see `Leftover.deleted`.

        Raises:
            ConfigurationError: No namespace was given; see `check_may_delete`.
            WireError: Sessions could not be listed. An error with one session goes to `on_error`.
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
    """The sessions of the server, page by page. A page is fetched when the caller asks for it."""
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
