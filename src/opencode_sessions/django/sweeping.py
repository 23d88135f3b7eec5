"""Finding the turns that were left behind, in all models and databases of the project."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.db import Error as DatabaseError
from django.db import connections, models, router

from opencode_sessions.django.jobs import Job, abandoned_jobs
from opencode_sessions.django.registry import message_models
from opencode_sessions.django.tenants import all_tenants, inside

__all__ = ["databases_of", "databases_with_table", "has_table", "sweep"]

_log = logging.getLogger("opencode_sessions.django")

_AT_ONCE = 500


def sweep(promise: float) -> Iterator[Job]:
    """The turns that nobody runs any more; see `abandoned_jobs`.

    Args:
        promise: For how many seconds those that had not begun are undertaken.
    """
    for tenant in all_tenants():
        with inside(tenant):
            found = [job for model in message_models() for job in _abandoned(model, promise)]
        yield from found


def _abandoned(model: type[models.Model], promise: float) -> Iterator[Job]:
    """Those of the tenant that is in force."""
    for using in databases_of(model):
        try:
            yield from abandoned_jobs(model, using, promise, limit=_AT_ONCE)
        except DatabaseError:
            if has_table(model, using):
                raise
            _log.debug("the database %s has no table of %s", using, model.__name__)


def databases_of(model: type[models.Model]) -> list[str]:
    """The aliases of the databases in which the tenant in force has the model's table, as far as the routers know."""
    return [alias for alias in connections if router.allow_migrate_model(alias, model)]


def databases_with_table(model: type[models.Model]) -> list[str]:
    """The aliases of the databases in which any tenant has the model's table. It queries."""
    found: dict[str, None] = {}
    for tenant in all_tenants():
        with inside(tenant):
            found |= dict.fromkeys(alias for alias in databases_of(model) if has_table(model, alias))
    return list(found)


def has_table(model: type[models.Model], using: str) -> bool:
    """Was it migrated there, in the tenant that is in force? It queries."""
    with connections[using].cursor() as cursor:
        return model._meta.db_table in connections[using].introspection.table_names(cursor)  # noqa: SLF001 - documented
