"""`DjangoTurnRows`: one cheap query for all watched turns, and another one for a row that has changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

from django.apps import apps
from django.db import Error, models

from opencode_sessions.django.connections import give_back_connections, shared
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.registry import table_model
from opencode_sessions.django.rows import all_rows, database_of
from opencode_sessions.django.tenants import current_tenant, inside
from opencode_sessions.store.turn_table import Head, RowKey, TurnRow

__all__ = ["DjangoTurnRows", "rows"]

Field: TypeAlias = "models.Field[Any, Any]"


class DjangoTurnRows:
    """The messages of a project, for watchers of turns: a `TurnRows` that blocks.

    The table in a key is the label of the model whose own table it is, so that proxies and children share it.
    """

    def key_of(self, message: models.Model) -> RowKey:
        """See `TurnRows.key_of`."""
        _ = DjangoMessageStore(message).key  # it has a row
        using = database_of(message)
        return self.key(type(message), message.pk, using, current_tenant(using))

    def key(self, model: type[models.Model], pk: Any, using: str, tenant: str) -> RowKey:
        """The key of a row.

        Args:
            model: The message's model.
            pk: The primary key, as a query returns it.
            using: The alias of the database.
            tenant: The tenant; empty without tenants.
        """
        table = table_model(model)
        return RowKey(table._meta.label, _text(table._meta.pk, pk), using, tenant)  # noqa: SLF001 - documented

    def inside(self, tenant: str) -> AbstractContextManager[None]:
        """See `TurnRows.inside`."""
        return inside(tenant)

    async def heads(self, keys: Collection[RowKey]) -> Mapping[RowKey, Head]:
        """See `TurnRows.heads`."""
        tables: defaultdict[tuple[str, str, str], list[RowKey]] = defaultdict(list)
        for key in keys:
            tables[key.table, key.database, key.tenant].append(key)
        found: dict[RowKey, Head] = {}
        for (table, database, tenant), those in tables.items():
            field = _primary_key(table)
            by_pk = {_value(field, key.pk): key for key in those}
            rows = all_rows(apps.get_model(table), database).filter(pk__in=list(by_pk))
            with inside(tenant), _shared(database):
                for pk, status, revision in rows.values_list("pk", "status", "revision"):
                    if pk in by_pk:
                        found[by_pk[pk]] = Head(status, revision)
        return found

    async def row(self, key: RowKey) -> TurnRow | None:
        """See `TurnRows.row`."""
        pk = _value(_primary_key(key.table), key.pk)
        rows = all_rows(apps.get_model(key.table), key.database).filter(pk=pk)
        with inside(key.tenant), _shared(key.database):
            values = rows.values(*TurnRow.columns()).first()
        return None if values is None else TurnRow(**values)

    def is_transient(self, error: Exception) -> bool:
        """See `TurnRows.is_transient`."""
        return isinstance(error, Error)

    def give_back(self) -> None:
        """See `TurnRows.give_back`. Where the host keeps a pool, its connections are given back to it."""
        give_back_connections()


rows = DjangoTurnRows()


def _shared(using: str) -> AbstractContextManager[object]:
    """A shared connection while turns are at work here; else this thread's, which `give_back` closes after all rows."""
    return shared.lent(using) if shared.serves(using) else nullcontext()


def _primary_key(table: str) -> Field:
    return cast("Field", apps.get_model(table)._meta.pk)  # noqa: SLF001 - documented


def _text(field: Field, pk: Any) -> str:
    """A primary key as text."""
    # `value_to_string` reads the value from an instance; this object is enough.
    return field.value_to_string(cast("models.Model", SimpleNamespace(**{field.attname: pk})))


def _value(field: Field, text: str) -> Any:
    """A primary key, as a query returns it."""
    value = field.to_python(text)
    return tuple(value) if isinstance(value, list) else value  # of several columns
