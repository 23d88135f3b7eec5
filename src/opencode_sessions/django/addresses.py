"""The URLs of our views of a message."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from typing import Any

from django.db import models
from django.urls import NoReverseMatch, reverse

from opencode_sessions.django.registry import table_model

__all__ = ["address", "address_of", "files_of", "named"]


def address(name: str, message: models.Model) -> str:
    """The URL of one of our views of a message."""
    return reverse(f"opencode:{name}", args=named(message))


def address_of(name: str, message: models.Model, *more: str) -> str:
    """The URL of one of our views of a part of a message; empty if our views are not installed."""
    try:
        return reverse(f"opencode:{name}", args=[*named(message), *more])
    except NoReverseMatch:
        return ""


def files_of(message: Any) -> str:
    """The argument `files` of `display`; empty if our views are not installed, or without a row."""
    if not isinstance(message, models.Model):
        return ""
    try:
        return reverse("opencode:file", args=[*named(message), "-", "-"]).removesuffix("-/-")
    except NoReverseMatch:
        return ""


def named(message: models.Model) -> tuple[str, Any]:
    """The label and the key of a message in a URL: those of the model that has its table."""
    model = table_model(type(message))
    key = getattr(message, model._meta.pk.attname)
    return model._meta.label_lower, model._meta.pk.value_to_string(message) if isinstance(key, tuple) else key
