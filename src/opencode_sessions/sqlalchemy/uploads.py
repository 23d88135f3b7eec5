"""Removing the files that people uploaded along with the record's row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Mapper, object_session

from opencode_sessions.files.uploads import Uploads
from opencode_sessions.sqlalchemy.committing import after_commit

__all__ = ["remove_uploads_with_row"]


def remove_uploads_with_row(model: type[Any], uploads: Uploads) -> Callable[[], None]:
    """From now on, when an ORM session deletes a row of this model, remove the record's uploads after the commit.

    The ORM must delete the row itself: a bulk `delete()` statement and a cascade of the database tell nobody. Call
    `uploads.remove(record)` there. It goes with sync and async sessions.

    Args:
        model: The records' class.
        uploads: Where their uploads are.

    Returns:
        A function that ends it.
    """

    def before_delete(_mapper: Mapper[Any], _connection: Connection, target: object) -> None:
        after_commit(object_session(target), uploads.removal_of(target))

    def end() -> None:
        event.remove(model, "before_delete", before_delete)

    event.listen(model, "before_delete", before_delete, propagate=True)
    return end
