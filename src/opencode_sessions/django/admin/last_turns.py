"""The last turn of each record, read in the query that lists the records."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models import F, OuterRef, Subquery

__all__ = ["LastTurn", "last_turns", "with_last_turns"]

_COLUMNS = ("pk", "status", "error")


@dataclass(frozen=True, slots=True)
class LastTurn:
    """The shown values of a turn."""

    model: type[models.Model]
    pk: Any
    status: str
    error: Any


def with_last_turns(
    records: models.QuerySet[Any], messages: Iterable[tuple[type[models.Model], str]]
) -> models.QuerySet[Any]:
    """The records, annotated for `last_turns`.

    Args:
        records: The listed records.
        messages: The models of their messages, each with its field for the record.
    """
    for model, field in messages:
        begun_last = F("started_at").desc(nulls_last=True)
        # The default manager: what the host hides there is hidden here.
        turns = model._default_manager.filter(**{field: OuterRef("pk")}).order_by(begun_last, "-pk")
        records = records.annotate(
            **{_name(model, column): Subquery(turns.values(column)[:1]) for column in _COLUMNS}
        )
    return records


def last_turns(record: Any, messages: Iterable[tuple[type[models.Model], str]]) -> Iterator[LastTurn]:
    """The last turns of a record, one for each model of messages that has any."""
    for model, _ in messages:
        pk, status, error = (getattr(record, _name(model, column)) for column in _COLUMNS)
        if pk is not None:
            yield LastTurn(model, pk, status, error)


def _name(model: type[models.Model], column: str) -> str:
    return f"opencode_last_{model._meta.label_lower.replace('.', '_')}_{column}"
