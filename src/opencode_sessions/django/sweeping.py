"""Finding the turns that were left behind, in all models and databases of the project."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.db import Error as DatabaseError
from django.db import connections, models, router

from opencode_sessions.django.jobs import Job, abandoned_jobs
from opencode_sessions.django.registry import message_models

__all__ = ["databases_of", "has_table", "sweep"]

_log = logging.getLogger("opencode_sessions.django")

_AT_ONCE = 500


def sweep(promise: float) -> Iterator[Job]:
    """The turns that nobody runs any more; see `abandoned_jobs`.

    Args:
        promise: For how many seconds those that had not begun are undertaken.
    """
    for model in message_models():
        for using in databases_of(model):
            try:
                yield from abandoned_jobs(model, using, promise, limit=_AT_ONCE)
            except DatabaseError:
                if has_table(model, using):
                    raise
                _log.debug("the database %s has no table of %s", using, model.__name__)


def databases_of(model: type[models.Model]) -> list[str]:
    """The aliases of the databases in which the model has a table, as far as the routers know."""
    return [alias for alias in connections if router.allow_migrate_model(alias, model)]


def has_table(model: type[models.Model], using: str) -> bool:
    """Was it migrated there? It queries."""
    with connections[using].cursor() as cursor:
        return model._meta.db_table in connections[using].introspection.table_names(cursor)  # noqa: SLF001 - documented
