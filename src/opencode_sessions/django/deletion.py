"""Deleting a session along with its row, when Django deletes that."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db import models, transaction
from django.db.models.signals import pre_delete

from opencode_sessions.django.index import owner_of_column
from opencode_sessions.django.registry import has_columns
from opencode_sessions.django.rows import all_rows
from opencode_sessions.reporting import OnError
from opencode_sessions.sessions.deletion import AnyClient, SessionDeleter
from opencode_sessions.store.record_columns import SERVER

__all__ = ["delete_session_with_row", "with_proxies"]


def delete_session_with_row(
    model: type[models.Model], client: AnyClient, *, on_error: OnError | None = None
) -> Callable[[], None]:
    """From now on, when Django deletes a row of this model, stop and delete the row's OpenCode session too.

    It happens after the commit, in the same thread, one row after the other. After a rollback nothing happens. It is
    best effort: errors go to `on_error`, and `prune` finds the sessions that were left. A `TestCase` of Django commits
    nothing: see its `captureOnCommitCallbacks`.

    It works with every deletion that sends Django's signals: `instance.delete()`, `queryset.delete()`, cascades. Raw
    SQL and a cascade of the database send none; `prune` finds their sessions, too.

    Call it once for a model, in the `ready()` of your `AppConfig`.

    Args:
        model: Any model with a field `opencode_session_id`, including its proxies.
        client: The server's client, or several `Servers`; or a function that returns either when it is needed.
        on_error: Called as `on_error(error, context)`. Without it, errors are logged.

    Returns:
        A function that ends it.

    Raises:
        ConfigurationError: The model lacks the field, or the client is one for asyncio.
    """
    owner = owner_of_column(model)
    key = owner._meta.pk.attname
    columns = [name for name in ("opencode_session_id", SERVER) if has_columns(owner, [name])]
    remover = SessionDeleter(client, on_error)
    senders = list(with_proxies(model._meta.concrete_model or model))

    def before_delete(*, instance: models.Model, using: str, **_: Any) -> None:
        # Because of the signal's receiver, Django deletes inside a transaction. It reads the row with a lock, if the
        # database has row locks, so that no other id is written until its end.
        primary_key = getattr(instance, key)
        row = all_rows(owner, using).select_for_update().filter(pk=primary_key)
        for names in row.values_list(*columns):
            if names[0] is not None:
                act = partial(remover, _row_key(owner, primary_key), *names)
                transaction.on_commit(act, using=using, robust=True)

    def end() -> None:
        for sender in senders:
            pre_delete.disconnect(before_delete, sender=sender)

    for sender in senders:
        pre_delete.connect(before_delete, sender=sender, weak=False)
    return end


def with_proxies(model: type[models.Model]) -> Iterator[type[models.Model]]:
    """The model and its proxies, because a deletion through a proxy sends the signals of the proxy."""
    yield model
    for child in model.__subclasses__():
        if child._meta.proxy:
            yield from with_proxies(child)


def _row_key(owner: type[models.Model], primary_key: object) -> str:
    values = primary_key if isinstance(primary_key, tuple) else (primary_key,)
    return f"{owner._meta.db_table}:{','.join(map(str, values))}"
