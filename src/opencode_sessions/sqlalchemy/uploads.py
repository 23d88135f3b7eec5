"""Deleting the files that people uploaded along with the record's row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection

from opencode_sessions.files.uploads import Uploads
from opencode_sessions.reporting import ErrorContext, ErrorReporter, OnError
from opencode_sessions.sqlalchemy.deleting import in_a_thread, with_row

__all__ = ["delete_uploads_with_row"]


def delete_uploads_with_row(
    model: type[Any], uploads: Uploads, *, on_error: OnError | None = None
) -> Callable[[], None]:
    """From now on, when an ORM session deletes a record of this model, delete its uploads after the commit.

    A bulk `delete()` statement and a cascade of the database send no event: call `uploads.remove(record)` there.

    Call it once for a model, where your models are made.

    Args:
        model: The mapped class of the records.
        uploads: The uploads of the host's settings.
        on_error: Called as `on_error(error, context)`. Without it, errors are logged.

    Returns:
        A function that ends it.
    """
    report = ErrorReporter(on_error)

    def act_for(connection: Connection, target: Any) -> Callable[[], None]:
        act = partial(_delete, uploads.removal_of(target), str(target.opencode_uid), report)
        return in_a_thread(connection, act)

    return with_row(model, act_for)


def _delete(remove: Callable[[], None], uid: str, report: ErrorReporter) -> None:
    try:
        remove()
    except OSError as error:
        report(error, ErrorContext("delete_uploads", uid))
