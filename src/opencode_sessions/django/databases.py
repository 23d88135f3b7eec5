"""The databases that contain a model's table."""

from __future__ import annotations

from django.db import connections, models, router

from opencode_sessions.django.tenants import all_tenants, inside

__all__ = ["databases_of", "databases_with_table", "has_table"]


def databases_of(model: type[models.Model]) -> list[str]:
    """The aliases of the databases with the model's table for the present tenant, according to the routers."""
    return [alias for alias in connections if router.allow_migrate_model(alias, model)]


def databases_with_table(model: type[models.Model]) -> list[str]:
    """The aliases of the databases with the model's table for any tenant. It queries."""
    found: dict[str, None] = {}
    for tenant in all_tenants():
        with inside(tenant):
            found |= dict.fromkeys(alias for alias in databases_of(model) if has_table(model, alias))
    return list(found)


def has_table(model: type[models.Model], using: str) -> bool:
    """Does the table exist there, for the present tenant? It queries."""
    with connections[using].cursor() as cursor:
        return model._meta.db_table in connections[using].introspection.table_names(cursor)  # noqa: SLF001 - documented
