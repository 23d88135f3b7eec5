"""Looking at rows: what one cheap query tells of all turns that are watched, and the whole of one that has changed.

The thread that looks has no connection between two looks: where the host keeps a pool, it is given back to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.db import connections, models

from opencode_sessions.django.live.drawing import Row
from opencode_sessions.django.registry import table_model
from opencode_sessions.django.rows import all_rows, database_of
from opencode_sessions.django.tenants import current_tenant, inside

__all__ = ["Head", "Target", "connected", "give_back_connections", "heads_of", "row_of"]

Head = tuple[str, int]
"""A row's status and revision."""


@dataclass(frozen=True, slots=True)
class Target:
    """The row of a message."""

    model: type[models.Model]
    pk: Any
    using: str
    tenant: str

    @classmethod
    def of(cls, message: models.Model) -> Target:
        """That of an instance."""
        using = database_of(message)
        return cls(table_model(type(message)), message.pk, using, current_tenant(using))

    @property
    def table(self) -> tuple[type[models.Model], str, str]:
        """Where it is."""
        return self.model, self.using, self.tenant

    @property
    def rows(self) -> models.QuerySet[Any]:
        """All of its table."""
        return all_rows(self.model, self.using)


@contextmanager
def connected() -> Iterator[None]:
    """Inside, this thread may query; then it gives its connections back."""
    try:
        yield
    finally:
        connections.close_all()


def give_back_connections() -> None:
    """Those of this thread: what is to come takes long, and needs none.

    One with a transaction open is left: a test's, say.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def heads_of(targets: Sequence[Target]) -> dict[Target, Head]:
    """How far each is, all of one table, in one query; those that were deleted are missing."""
    rows = targets[0].rows.filter(pk__in=[target.pk for target in targets])
    heads = rows.values_list("pk", "status", "revision")
    with inside(targets[0].tenant):
        return {replace(targets[0], pk=pk): (status, revision) for pk, status, revision in heads}


def row_of(target: Target) -> Row | None:
    """The row; None if it was deleted."""
    with inside(target.tenant):
        values = target.rows.filter(pk=target.pk).values(*Row.columns()).first()
    return None if values is None else Row(**values)
