"""The statements of a table of turns, over a `Connection` whose transaction the caller begins and ends."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    update,
)

from opencode_sessions.sqlalchemy.clock import moment
from opencode_sessions.sqlalchemy.leases import is_abandoned, is_asking, is_behind, is_run
from opencode_sessions.sqlalchemy.record_of import RecordLink
from opencode_sessions.sqlalchemy.tables import Identity, MappedTable, bound, is_bound
from opencode_sessions.store.index import batches
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.record_columns import SERVER, UID
from opencode_sessions.store.turn_table import MOST_ASKED, Place, TurnCounts, TurnRow, Usage

__all__ = ["Found", "TurnStatements"]

_AT_ONCE = 500
"""How many abandoned turns one query finds at most."""

_LONG_AGO = 600.0
"""Seconds; longer than a renewal may wait until it can write."""

_READS_LOCK = ("mysql", "mariadb")
"""Databases in which the subquery of an UPDATE locks its rows, so that transactions of one record would wait."""

_SECONDS, _NOW, _LAST = "opencode_seconds", "opencode_now", "opencode_last"
"""Names of parameters, which no column of a host's has."""


class Found(NamedTuple):
    """The values of a row that make a job.

    Attributes:
        identity: The message's primary key.
        record: The primary key of its record; its values are None without a record.
        uid: The message's `opencode_uid`.
        status: The turn's status.
    """

    identity: Identity
    record: Identity
    uid: str | None
    status: str


class TurnStatements:
    """The statements of one table."""

    def __init__(self, table: MappedTable, link: RecordLink) -> None:
        self._table = table
        self._link = link
        self._columns = columns = table.columns
        self._lease = columns["opencode_turn_lease"]
        self._order = columns["opencode_turn_order"]
        self._parked = columns["opencode_turn_parked"]
        self._enqueued_at = columns["enqueued_at"]
        self._pending = columns["status"] == TurnStatus.PENDING.value
        self._streaming = columns["status"] == TurnStatus.STREAMING.value
        self._is_behind = is_behind(columns)
        self._waits_for_a_person = and_(self._streaming, self._parked.is_(True))
        self._waits_for_a_place = and_(self._pending, self._parked.is_(True))
        # The statements of each turn are built once: SQLAlchemy needs longer to build one than to execute it.
        shown = (columns[name].label(name) for name in TurnRow.columns())
        self._one_found = self._found().where(is_bound(table.primary_key))
        self._one_shown = select(*shown).where(is_bound(table.primary_key))
        self._last = self._last_place()
        self._reserve = self._reservation(self._last.scalar_subquery())
        self._reserve_after = self._reservation(bindparam(_LAST, type_=self._order.type))
        parked = self._parked_ones().where(is_bound(link.columns))
        self._first_parked = parked.order_by(self._order, *table.primary_key).limit(1)

    def found(self, connection: Connection, identity: Identity) -> Found | None:
        """The row."""
        row = connection.execute(self._one_found, bound(identity)).one_or_none()
        return None if row is None else self._of(row)

    def reserve(self, connection: Connection, identity: Identity, record: Identity, seconds: float) -> None:
        """Give a turn that has not begun a lease, and a place if it has none."""
        given = bound([*identity, *record]) | {_SECONDS: round(seconds * 1_000_000), _NOW: datetime.now(UTC)}
        if connection.dialect.name in _READS_LOCK:
            connection.execute(self._reserve_after, given | {_LAST: connection.scalar(self._last, given)})
        else:
            connection.execute(self._reserve, given)

    def renew(self, connection: Connection, identities: Collection[Identity], seconds: float) -> None:
        """Extend the leases of turns that have not begun and whose lease has not expired."""
        reserved = and_(self._pending, self._lease > moment(self._lease))
        self._lend(connection, identities, reserved, seconds)

    def release(self, connection: Connection, identities: Collection[Identity]) -> None:
        """End the leases of turns that have not begun, or are parked."""
        reserved = and_(or_(self._pending, self._waits_for_a_person), self._lease.is_not(None))
        self._lend(connection, identities, reserved, -_LONG_AGO)

    def left(self, connection: Connection) -> list[Found]:
        """The abandoned turns, oldest first, with those that are parked although no other turn has begun or waits."""
        key = self._table.primary_key
        abandoned = self._found().where(is_abandoned(self._columns)).order_by(*key)
        parked = self._parked_ones().order_by(self._order, *key)
        rows = [row for each in (abandoned, parked) for row in connection.execute(each.limit(_AT_ONCE))]
        return [self._of(row) for row in rows]

    def claim_left(self, connection: Connection, identity: Identity, seconds: float) -> bool:
        """Reserve a turn that `left` found and that has not begun, if nothing has changed since."""
        still = and_(self._pending, or_(is_abandoned(self._columns), self._is_behind))
        return self._lend(connection, [identity], still, seconds, parked=False)

    def counts(self, connection: Connection) -> TurnCounts:
        """How many turns have not ended, by their state."""
        live, asks = and_(self._streaming, self._lease > moment(self._lease)), is_asking(self._columns)
        queued = or_(self._is_behind, and_(self._pending, self._lease > moment(self._lease)))
        states = queued, and_(live, ~asks), and_(live, asks), is_abandoned(self._columns)
        sums = (func.sum(case((state, 1), else_=0)) for state in states)
        return TurnCounts().plus(
            connection.execute(select(*sums).where(self._pending | self._streaming)).one()
        )

    def ahead_of(
        self, connection: Connection, identity: Identity, record: Identity, place: int
    ) -> tuple[Found, bool] | None:
        """The turn that comes before that one, and whether it runs now or is parked."""
        reserved = and_(self._pending, or_(self._lease.is_not(None), self._order > 0))
        earlier = or_(self._order < place, and_(self._order == place, self._is_lesser(identity)))
        # A parked turn counts as running: to run it before it is resumed would only park it again.
        has_lease = and_(self._streaming | self._waits_for_a_place, self._lease > moment(self._lease))
        row = connection.execute(
            self._found()
            .add_columns(has_lease)
            .where(self._is_of(record), or_(self._streaming, and_(reserved, earlier)))
            .order_by(case((self._streaming, 0), else_=1), self._order, *self._table.primary_key)
            .limit(1)
        ).one_or_none()
        return None if row is None else (self._of(row), bool(row[-1]))

    def put_behind(self, connection: Connection, identity: Identity) -> bool:
        """Remove the lease of a turn that has not begun and has a place."""
        rows = self._table.is_row(identity), self._pending, self._order > 0
        taken = update(self._table.table).where(*rows).values({self._lease: null(), self._parked: False})
        return connection.execute(taken).rowcount == 1

    def unpark(self, connection: Connection, identity: Identity, seconds: float) -> bool:
        """Reserve a turn that is parked behind another one."""
        return self._lend(connection, [identity], self._is_behind, seconds)

    def wait_for_place(self, connection: Connection, identity: Identity, seconds: float) -> bool:
        """Park a turn that has not begun, unless it is parked already and its lease still holds."""
        may_wait = and_(self._pending, or_(self._parked.is_(False), is_abandoned(self._columns)))
        return self._lend(connection, [identity], may_wait, seconds, parked=True)

    def waiting(self, connection: Connection, place: Place) -> list[Found]:
        """The first turns that wait for such a place."""
        wanted = self._found().where(self._waits_for_a_place)
        if place.server is None:
            wanted = wanted.where(place.of)
        else:
            keys = zip(self._link.columns, self._link.record.primary_key, strict=True)
            server = self._link.record.columns[SERVER]
            there = or_(server == place.server, server.is_(None) if place.unnamed else false())
            wanted = wanted.where(exists().where(*(ours == theirs for ours, theirs in keys), there))
        first = wanted.order_by(self._enqueued_at, *self._table.primary_key).limit(MOST_ASKED)
        return [self._of(row) for row in connection.execute(first)]

    def resume_waiting(self, connection: Connection, identity: Identity, seconds: float) -> bool:
        """Reserve a turn that waits for a place, if it still does."""
        return self._lend(connection, [identity], self._waits_for_a_place, seconds, parked=False)

    def resume(self, connection: Connection, identity: Identity, seconds: float) -> bool:
        """Reserve a turn that is parked and waits for a person."""
        return self._lend(connection, [identity], self._waits_for_a_person, seconds)

    def next_parked(self, connection: Connection, record: Identity) -> Found | None:
        """The first turn of a record that is parked behind another, if none of them has begun."""
        row = connection.execute(self._first_parked, bound(record)).one_or_none()
        return None if row is None else self._of(row)

    def usage(self, connection: Connection, of: ColumnElement[bool], since: datetime | None) -> Usage:
        """The use of the turns that meet the condition."""
        columns = self._columns
        counts = literal(True) if since is None else columns["started_at"] >= since
        tokens = columns["input_tokens"] + columns["output_tokens"]
        sums = ((is_run(columns), 1), (counts, columns["cost"]), (counts, tokens))
        wanted = [func.coalesce(func.sum(case((which, what), else_=0)), 0) for which, what in sums]
        running, cost, used = connection.execute(
            select(*wanted).select_from(self._table.table).where(of)
        ).one()
        return Usage(int(running), float(cost), int(used))

    def running(self, connection: Connection) -> dict[str | None, int]:
        """How many turns run on each server."""
        record = self._link.record
        server, session_id = record.columns[SERVER], record.columns["opencode_session_id"]
        keys = zip(self._link.columns, record.primary_key, strict=True)
        joined = self._table.table.join(record.table, and_(*(ours == theirs for ours, theirs in keys)))
        wanted = select(server, func.count()).select_from(joined).group_by(server)
        found = connection.execute(wanted.where(is_run(self._columns), session_id.is_not(None)))
        return {row[0]: row[1] for row in found}

    def touch_ended(self, connection: Connection, identity: Identity) -> bool:
        """Raise the epoch of a turn that failed or was cancelled, so that late writes are refused. False for others."""
        epoch, revision = self._columns["opencode_turn_epoch"], self._columns["revision"]
        badly = self._columns["status"].in_([TurnStatus.FAILED.value, TurnStatus.CANCELLED.value])
        ended = update(self._table.table).where(self._table.is_row(identity), badly)
        return connection.execute(ended.values({epoch: epoch + 1, revision: revision + 1})).rowcount == 1

    def set_error(self, connection: Connection, identity: Identity, error: Mapping[str, Any]) -> None:
        """Write the error of a turn that has ended."""
        row = update(self._table.table).where(self._table.is_row(identity))
        connection.execute(row.values({self._columns["error"]: error}))

    def heads(
        self, connection: Connection, identities: Collection[Identity]
    ) -> Iterator[tuple[Identity, str, int]]:
        """The status and the revision of each row that exists."""
        key, columns = self._table.primary_key, self._columns
        wanted = select(*key, columns["status"], columns["revision"])
        for some in batches(identities):
            for row in connection.execute(wanted.where(self._is_among(some))):
                *identity, status, revision = row
                yield tuple(identity), status, revision

    def row(self, connection: Connection, identity: Identity) -> TurnRow | None:
        """The columns that watchers see."""
        row = connection.execute(self._one_shown, bound(identity)).one_or_none()
        return None if row is None else TurnRow(**row._asdict())

    def _lend(
        self,
        connection: Connection,
        identities: Collection[Identity],
        condition: ColumnElement[bool],
        seconds: float,
        *,
        parked: bool | None = None,
    ) -> bool:
        """Write the lease of the turns that meet the condition, and whether they are parked. True if there was one."""
        written = 0
        values: dict[Any, Any] = {self._lease: moment(self._lease, seconds)}
        if parked is not None:
            values[self._parked] = parked
        for some in batches(identities):
            rows = update(self._table.table).where(self._is_among(some), condition)
            written += connection.execute(rows.values(values)).rowcount
        return written > 0

    def _last_place(self) -> Select[Any]:
        """The last place among the turns of a record."""
        others = self._table.table.alias()
        order: Any = others.corresponding_column(self._order)
        columns: Any = [others.corresponding_column(column) for column in self._link.columns]
        same = is_bound(columns, start=len(self._table.primary_key))
        return select(func.coalesce(func.max(order), 0)).where(same)

    def _reservation(self, last: ColumnElement[Any]) -> Update:
        # Not in the WHERE: MariaDB would use the index of the status, and lock the gap for new messages.
        now = bindparam(_NOW, type_=self._enqueued_at.type)
        values = {
            self._order: case((and_(self._pending, self._order == 0), last + 1), else_=self._order),
            self._lease: case((self._pending, moment(self._lease, _SECONDS)), else_=self._lease),
            self._parked: case((self._pending, false()), else_=self._parked),
            self._enqueued_at: func.coalesce(self._enqueued_at, now),
        }
        return update(self._table.table).where(is_bound(self._table.primary_key)).values(values)

    def _found(self) -> Select[Any]:
        return select(
            *self._table.primary_key, *self._link.columns, self._columns[UID], self._columns["status"]
        )

    def _of(self, row: Row[Any]) -> Found:
        own, its = len(self._table.primary_key), len(self._link.columns)
        values: Sequence[Any] = tuple(row)
        uid, status = values[own + its : own + its + 2]
        return Found(tuple(values[:own]), tuple(values[own : own + its]), uid, status)

    def _parked_ones(self) -> Select[Any]:
        others = self._table.table.alias()
        status: Any = others.corresponding_column(self._columns["status"])
        columns: Any = zip(
            self._link.columns, map(others.corresponding_column, self._link.columns), strict=True
        )
        parked: Any = others.corresponding_column(self._parked)
        waits = and_(status == TurnStatus.PENDING.value, parked.is_(True))
        begun = exists().where(
            or_(status == TurnStatus.STREAMING.value, waits), *(other == column for column, other in columns)
        )
        return self._found().where(self._is_behind, ~begun)

    def _is_of(self, record: Identity) -> ColumnElement[bool]:
        return and_(*(column == value for column, value in zip(self._link.columns, record, strict=True)))

    def _is_among(self, identities: Sequence[Identity]) -> ColumnElement[bool]:
        key = self._table.primary_key
        if len(key) == 1:
            return key[0].in_([value for (value,) in identities])
        return tuple_(*key).in_(identities)

    def _is_lesser(self, identity: Identity) -> ColumnElement[bool]:
        """The condition that the row's primary key comes before this one."""
        lesser: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for column, value in zip(self._table.primary_key, identity, strict=True):
            lesser.append(and_(*equal, column < value))
            equal.append(column == value)
        return or_(*lesser)
