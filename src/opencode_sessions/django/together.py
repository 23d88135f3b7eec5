"""`DjangoTogether`: the snapshots of a process's turns in one database, over one of its shared connections.

To have the ORM make the statement takes several times as long as the rest of a snapshot: it is made once for each
model. A turn with a tenant's context writes alone, since the context holds for its own thread.
"""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from opencode_sessions.django.clock import Moment
from opencode_sessions.django.connections import shared
from opencode_sessions.django.rows import ModelRow, all_rows
from opencode_sessions.runtime.threads import ThreadLock
from opencode_sessions.store.record_columns import Later
from opencode_sessions.store.together import RowWrite, Together

__all__ = ["DjangoTogether"]


class DjangoTogether(Together[ModelRow]):
    """See `Together`.

    Args:
        using: The alias of the database.
    """

    def __init__(self, using: str) -> None:
        super().__init__(ThreadLock)
        self._using = using
        self._statements: dict[object, _Statement] = {}

    async def write(
        self, row: ModelRow, expected: Mapping[str, object], values: Mapping[str, object]
    ) -> bool:
        """See `Together.write`."""
        if row.asynchronous or not shared.serves(self._using):
            return False
        return await super().write(row, expected, values)

    async def _transaction(self, writes: Sequence[RowWrite[ModelRow]]) -> Sequence[bool]:
        with shared.lent(self._using) as connection, transaction.atomic(using=self._using):
            free = _lock_free(writes, connection)
            return [
                write.row.pk in free[write.row.model] and self._write(write, connection) for write in writes
            ]

    def _write(self, write: RowWrite[ModelRow], connection: BaseDatabaseWrapper) -> bool:
        key = (write.row.model, *write.expected, *write.values)
        statement = self._statements.get(key)
        if statement is None:
            statement = self._statements[key] = _Statement(write, connection)
        return statement.execute(write, connection)


class _Statement:
    """`UPDATE … SET … WHERE …` of one model, with places for what differs from row to row."""

    def __init__(self, write: RowWrite[ModelRow], connection: BaseDatabaseWrapper) -> None:
        meta, quote = write.row.model._meta, connection.ops.quote_name
        self._set: list[Any] = [meta.get_field(name) for name in write.values]
        self._where: list[Any] = [*meta.pk_fields, *(meta.get_field(name) for name in write.expected)]
        places = (_place(value, connection) for value in write.values.values())
        sets = ", ".join(
            f"{quote(field.column)} = {place}" for field, place in zip(self._set, places, strict=True)
        )
        where = " AND ".join(f"{quote(field.column)} = %s" for field in self._where)
        self._sql = f"UPDATE {quote(meta.db_table)} SET {sets} WHERE {where}"  # noqa: S608 - our own names

    def execute(self, write: RowWrite[ModelRow], connection: BaseDatabaseWrapper) -> bool:
        """Was the row written?"""
        sets = (
            value.microseconds if isinstance(value, Later) else field.get_db_prep_save(value, connection)
            for field, value in zip(self._set, write.values.values(), strict=True)
        )
        pk = write.row.pk if isinstance(write.row.pk, tuple) else (write.row.pk,)
        where = (
            field.get_db_prep_save(value, connection)
            for field, value in zip(self._where, (*pk, *write.expected.values()), strict=True)
        )
        with connection.cursor() as cursor:
            cursor.execute(self._sql, [*sets, *where])
            return bool(cursor.rowcount == 1)


def _place(value: object, connection: BaseDatabaseWrapper) -> str:
    return Moment(value.seconds).as_sql(None, connection)[0] if isinstance(value, Later) else "%s"


def _lock_free(
    writes: Sequence[RowWrite[ModelRow]], connection: BaseDatabaseWrapper
) -> Mapping[type[models.Model], set[Any]]:
    """Lock the rows, but for those that somebody else has locked."""
    found: defaultdict[type[models.Model], set[Any]] = defaultdict(set)
    for write in writes:
        found[write.row.model].add(write.row.pk)
    features = connection.features
    if features.has_select_for_update:
        no_key = features.has_select_for_no_key_update
        for model, pks in found.items():
            rows = all_rows(model, connection.alias).select_for_update(skip_locked=True, no_key=no_key)
            found[model] = set(rows.filter(pk__in=pks).values_list("pk", flat=True))
    return found
