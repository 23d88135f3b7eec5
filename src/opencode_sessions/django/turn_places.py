"""What limits on turns at a time go by: how many turns run on each server, and which wait for a place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import Error as DatabaseError
from django.db import models
from django.db.models import Q

from opencode_sessions.django.connections import borrowed
from opencode_sessions.django.databases import databases_of, has_table
from opencode_sessions.django.leases import being_run, waiting_for_place
from opencode_sessions.django.registry import message_models, record_field
from opencode_sessions.django.rows import all_rows, database_of
from opencode_sessions.store.record_columns import SERVER
from opencode_sessions.store.turn_table import MOST_ASKED, Place

__all__ = ["lacks_table", "record_column", "running", "waiting"]


def running() -> Mapping[str | None, int]:
    """See `TurnTable.running`."""
    found: Counter[str | None] = Counter()
    for model, using, server in _servers():
        session = server.removesuffix(SERVER) + "opencode_session_id"
        with borrowed(using):
            try:
                rows = all_rows(model, using).filter(being_run(), **{f"{session}__isnull": False})
                found.update(dict(rows.order_by().values_list(server).annotate(models.Count("pk"))))
            except DatabaseError:
                if not lacks_table(model, using):
                    raise
    return found


def waiting(message: models.Model, place: Place) -> Iterator[tuple[str, models.Model]]:
    """The first turns that wait for a place, each with the alias of its database; see `TurnTable.resume_waiting`."""
    if place.server is None:
        yield from _waiting(type(message), database_of(message), place.of)
        return
    for model, using, server in _servers():
        there = Q(**{server: place.server})
        yield from _waiting(model, using, there | Q(**{server: None}) if place.unnamed else there)


def _waiting(model: type[models.Model], using: str, there: Q) -> Iterator[tuple[str, models.Model]]:
    with borrowed(using):
        try:
            rows = all_rows(model, using).filter(waiting_for_place(), there).order_by("enqueued_at", "pk")
            found = list(rows[:MOST_ASKED])
        except DatabaseError:
            if not lacks_table(model, using):
                raise
            return
    for each in found:
        if database_of(each) == using:  # not of a read replica
            yield using, each


def _servers() -> Iterator[tuple[type[models.Model], str, str]]:
    """Each model in each of its databases, and how a query names the server of a message's record."""
    for model in message_models():
        field = record_column(model)
        if field is not None:
            for using in databases_of(model):
                yield model, using, f"{field.name}__{SERVER}"


def lacks_table(model: type[models.Model], using: str) -> bool:
    """Is a database there, without the table of this model?"""
    try:
        return not has_table(model, using)
    except DatabaseError:
        return False


def record_column(model: type[models.Model]) -> models.ForeignKey[Any, Any] | None:
    """The foreign key that says whose turns they are; None where a property of the host's does."""
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - not before the apps are there

    if getattr(model, "opencode_record", None) is MessageModel.opencode_record:
        return record_field(model)
    return None
