"""Which tenant's rows a connection leads to, and how the library's own threads get to them.

| setting | what it is |
|---|---|
| `CURRENT_TENANT` | a function: the tenant whose rows are in force in this thread, as text |
| `TENANT_CONTEXT` | of a tenant: a context manager, inside which its rows are in force |
| `ALL_TENANTS` | a function: the tenants in which turns are recovered and sessions are looked for |

A store and a job note the tenant when they are made. Whatever they do later is done inside its context, in any thread.
A project without tenants has one, the empty text, and needs no context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from opencode_sessions.django.conf import settings

__all__ = ["all_tenants", "current_tenant", "has_contexts", "inside", "switches_schemas"]


def current_tenant(using: str) -> str:
    """The tenant whose rows are in force in this thread.

    Raises:
        ImproperlyConfigured: The setting gives no text, or is missing where the database's backend switches schemas.
    """
    hook = settings().current_tenant
    if hook is None:
        if switches_schemas(using):
            raise ImproperlyConfigured(
                f"the database {using!r} has a schema for each tenant, and the library's own threads do not know which "
                "is meant: set CURRENT_TENANT, TENANT_CONTEXT and ALL_TENANTS in OPENCODE, see docs/tenants.md"
            )
        return ""
    tenant = hook()
    if not isinstance(tenant, str):
        raise ImproperlyConfigured(f'OPENCODE["CURRENT_TENANT"] must return a string, not {tenant!r}')
    return tenant


def switches_schemas(using: str) -> bool:
    """Is the database's backend one like that of django-tenants?"""
    return hasattr(connections[using], "set_schema")


def has_contexts(using: str) -> bool:
    """Are a tenant's rows in force in a thread only inside the context of that tenant?"""
    now = settings()
    return switches_schemas(using) or (now.tenant_context is not None and now.current_tenant is not None)


@contextmanager
def inside(tenant: str) -> Iterator[None]:
    """Inside, the rows of this tenant are in force in this thread."""
    now = settings()
    if now.tenant_context is None or now.current_tenant is None or now.current_tenant() == tenant:
        yield
        return
    with now.tenant_context(tenant):
        yield


def all_tenants() -> list[str]:
    """All tenants; the empty text alone where there are none."""
    hook = settings().all_tenants
    return [""] if hook is None else list(hook())
