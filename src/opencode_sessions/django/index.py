"""The session index for Django."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from collections.abc import Collection

from asgiref.sync import sync_to_async
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router, transaction

from opencode_sessions.django.connections import in_transaction
from opencode_sessions.django.databases import has_table
from opencode_sessions.django.rows import all_rows
from opencode_sessions.django.tenants import all_tenants, inside
from opencode_sessions.errors import ConfigurationError, OpenTransactionError
from opencode_sessions.store.index import batches

__all__ = ["DjangoIndex", "owner_of_column"]

_NAME = "opencode_session_id"


class DjangoIndex:
    """`SessionIndex` over the rows of a model.

    Args:
        model: Any model with a field `opencode_session_id`.
        using: The alias of the rows' primary database; by default the routers' choice for writes.
        asynchronous: True for `opencode_sessions.aio`.

    Raises:
        ConfigurationError: The model lacks the field.
    """

    def __init__(
        self, model: type[models.Model], *, using: str | None = None, asynchronous: bool = False
    ) -> None:
        self._owner = owner_of_column(model)
        self._using = using
        self._asynchronous = asynchronous

    @property
    def table(self) -> str:
        """See `SessionIndex.table`."""
        return self._owner._meta.db_table

    async def named(self, session_ids: Collection[str]) -> set[str]:
        """See `SessionIndex.named`."""
        if self._asynchronous:
            return await sync_to_async(self._named, thread_sensitive=True)(session_ids)
        return self._named(session_ids)

    def _named(self, session_ids: Collection[str]) -> set[str]:
        using = self._using or router.db_for_write(self._owner)
        if in_transaction(transaction.get_connection(using)):
            raise OpenTransactionError(
                f"a transaction is open on the database {using!r}: what it sees of {self.table} may be older than the "
                "sessions that are asked for. Call this outside of transaction.atomic()",
                record=self.table,
            )
        found: set[str] = set()
        tables = 0
        for tenant in all_tenants():
            with inside(tenant):
                if tenant and not has_table(self._owner, using):
                    continue
                tables += 1
                rows = all_rows(self._owner, using)
                for batch in batches(session_ids):
                    found.update(rows.filter(opencode_session_id__in=batch).values_list(_NAME, flat=True))
        if not tables:
            raise ConfigurationError(
                f'none of the tenants that OPENCODE["ALL_TENANTS"] gives has the table {self.table} in {using!r}'
            )
        return found


def owner_of_column(model: type[models.Model]) -> type[models.Model]:
    """The model whose own table has our field; with multi-table inheritance that is a parent.

    Raises:
        ConfigurationError: There is no such field, or no table.
    """
    try:
        owner: type[models.Model] = model._meta.get_field(_NAME).model
    except FieldDoesNotExist as error:
        raise ConfigurationError(
            f"{error}: inherit from opencode_sessions.django.models.RecordModel, or add the field"
        ) from error
    if owner._meta.abstract:
        raise ConfigurationError(f"{model.__name__} is abstract and has no rows: name the models that have")
    return owner
