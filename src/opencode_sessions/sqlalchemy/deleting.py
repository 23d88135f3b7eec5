"""Actions after the ORM has deleted a row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Mapper, object_session

from opencode_sessions.sqlalchemy.committing import after_commit

__all__ = ["in_a_thread", "with_row"]

Act = Callable[[], None]


def with_row(model: type[Any], act_for: Callable[[Connection, Any], Act | None]) -> Act:
    """From now on, when an ORM session deletes a row of this model, act after the commit.

    Args:
        model: The mapped class, including the classes that inherit from it.
        act_for: Called in the deleting transaction, with its connection and the object. Returns the action, or None.

    Returns:
        A function that ends it.
    """

    def before_delete(_mapper: Mapper[Any], connection: Connection, target: object) -> None:
        act = act_for(connection, target)
        if act is not None:
            after_commit(object_session(target), act)

    def end() -> None:
        if event.contains(model, "before_delete", before_delete):
            event.remove(model, "before_delete", before_delete)

    event.listen(model, "before_delete", before_delete, propagate=True)
    return end


def in_a_thread(connection: Connection, act: Act) -> Act:
    """The same action, in a thread if the engine is an async one, so that no event loop waits for a disk."""
    if not connection.dialect.is_async:
        return act
    return partial(_start, act)


def _start(act: Act) -> None:
    threading.Thread(target=act, name="opencode-sessions delete").start()
