"""The message of a URL, and the check whether this user may see it."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DataError, connections, models, router, transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from opencode_sessions.django.conf import settings
from opencode_sessions.django.connections import give_back_connections
from opencode_sessions.django.registry import record_of, served_model
from opencode_sessions.host.steering import NO_TURN
from opencode_sessions.texts import text
from opencode_sessions.validation import not_awaitable

__all__ = ["few_at_once", "outside_transactions", "root_of", "seen"]

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

_FEW = 16
_PATIENCE = 10.0
_places = threading.BoundedSemaphore(_FEW)


def seen(request: HttpRequest, label: str, pk: str) -> models.Model:
    """The message, read from its primary database, if this user may see it.

    Raises:
        Http404: There is no such message, or this user may not see it.
    """
    message = _row(label, pk)
    if message is None or not _may_see(request, message):
        raise Http404(text(NO_TURN))
    return message


def _row(label: str, pk: str) -> models.Model | None:
    model = served_model(label)
    if model is None:
        return None
    # The default manager: what the host hides there is hidden here.
    rows = model._default_manager.using(router.db_for_write(model))
    try:
        message: models.Model = rows.get(pk=model._meta.pk.to_python(pk))
    except (ObjectDoesNotExist, ValidationError, ValueError, TypeError, OverflowError, DataError):
        return None
    return message


def _may_see(request: HttpRequest, message: models.Model) -> bool:
    # A coroutine would count as true.
    return bool(not_awaitable('OPENCODE["MAY_SEE"]', settings().may_see(request, message)))


def root_of(message: models.Model) -> str | None:
    """The folder of its agent, if the host names it."""
    return getattr(record_of(message), "opencode_directory", None) or settings().directory


def outside_transactions(view: View) -> View:
    """Exclude a view from `ATOMIC_REQUESTS` of all databases; Django's decorator does so only for the default one."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def few_at_once(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let only 16 requests at once look into the database, and give their connections back when they have looked.

    After a deploy all browsers come back at the same moment. Under ASGI each request has a thread of its own, and with
    it a connection: more than a database allows. A request that has waited for ten seconds goes on.
    """

    @wraps(view)
    def waiting(*args: Any, **named: Any) -> HttpResponseBase:
        with _place():
            try:
                return view(*args, **named)
            finally:
                give_back_connections()

    return waiting


@contextmanager
def _place() -> Iterator[None]:
    found = _places.acquire(blocking=False)
    if not found:
        # Middleware may have opened a connection, and with tenants may have chosen one for it.
        if settings().current_tenant is None:
            give_back_connections()
        found = _places.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        if found:
            _places.release()
