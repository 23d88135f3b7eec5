"""Which message an address names, and whether this user may see it."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, ValidationError
from django.db import DataError, connections, models, router, transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from opencode_sessions.django.conf import settings
from opencode_sessions.django.registry import named_models

__all__ = ["address", "label_of", "outside_transactions", "seen"]

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def seen(request: HttpRequest, label: str, pk: str) -> models.Model:
    """The message, read from where it is written, if this user may see it.

    Raises:
        Http404: There is none, or not for this user.
    """
    for model in named_models():
        if model._meta.label_lower == label.lower():
            # The default manager: what the host hides there is hidden here.
            rows = model._default_manager.using(router.db_for_write(model))
            try:
                message: models.Model = rows.get(pk=pk)
            except (ObjectDoesNotExist, ValidationError, ValueError, OverflowError, DataError):
                break
            if _may_see(request, message):
                return message
            break
    raise Http404("There is no such turn, or not for you.")


def _may_see(request: HttpRequest, message: models.Model) -> bool:
    answer = settings().may_see(request, message)
    if iscoroutine(answer):  # which would count as a yes
        answer.close()
        raise ImproperlyConfigured(
            'OPENCODE["MAY_SEE"] must be an ordinary function: nobody would await its answer'
        )
    return bool(answer)


def address(name: str, message: models.Model) -> str:
    """Of one of our views of a message."""
    return reverse(f"opencode:{name}", args=[label_of(message), message.pk])


def outside_transactions(view: View) -> View:
    """Leave a view out of `ATOMIC_REQUESTS` of all databases: Django's decorator means the default one by itself."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def label_of(message: models.Model) -> str:
    """What names its model in an address, such as `chat.message`."""
    return message._meta.label_lower
