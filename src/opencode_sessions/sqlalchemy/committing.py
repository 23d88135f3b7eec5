"""Actions after the commit of the caller's transaction.

SQLAlchemy's event `after_commit` also comes with each savepoint, and while the connection is still held. So an action
waits for the end of the outermost transaction. It is dropped if its savepoint or transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_object_session
from sqlalchemy.orm import Session, SessionTransaction, object_session

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sqlalchemy.transactions import values_hidden

__all__ = ["after_commit", "in_session"]

_INFO = "opencode_sessions.after_commit"


def after_commit(session: Session | None, action: Callable[[], None]) -> None:
    """Call `action` once, after the open transaction of the ORM session has committed; at once if none is open.

    Actions run in the thread that commits, before `commit()` returns, in their order.
    """
    if session is not None and session.in_transaction():
        _Actions.of(session).add(session, action)
    else:
        action()


class _Actions:
    """The actions after the commit of one ORM session's transaction, with its savepoints."""

    def __init__(self) -> None:
        self._actions: dict[SessionTransaction | None, list[Callable[[], None]]] = {}
        self._committed: SessionTransaction | None = None

    @classmethod
    def of(cls, session: Session) -> _Actions:
        """The actions of this session; the session itself keeps them."""
        if _INFO not in session.info:
            session.info[_INFO] = actions = cls()
            event.listen(session, "after_commit", actions._after_commit)
            event.listen(session, "after_transaction_end", actions._after_end)
        return cast("_Actions", session.info[_INFO])

    def add(self, session: Session, action: Callable[[], None]) -> None:
        self._actions.setdefault(_innermost(session), []).append(action)

    def _after_commit(self, session: Session) -> None:
        # The release of a savepoint comes here, too. The actions wait for the end, when no connection is held.
        self._committed = _innermost(session)

    def _after_end(self, session: Session, ended: SessionTransaction) -> None:
        actions = self._actions.pop(ended, [])
        if ended is not self._committed:
            return  # rolled back or closed
        if ended.nested:
            self._actions.setdefault(_innermost(session), []).extend(actions)
            return
        for action in actions:
            action()


def _innermost(session: Session) -> SessionTransaction | None:
    """The transaction that a rollback would undo: the innermost savepoint, else the outermost transaction."""
    return session.get_nested_transaction() or session.get_transaction()


async def in_session(message: Any, work: Callable[[Session], None], *, suspends: bool) -> None:
    """Call `work` with the ORM session that a message is attached to.

    Args:
        message: The message.
        work: Called with the session.
        suspends: Whether it must be an `AsyncSession`.

    Raises:
        ConfigurationError: There is none, or it is of the other API.
    """
    name, made_with = type(message).__name__, "an async engine" if suspends else "a sync engine"
    session, suspending = object_session(message), async_object_session(message)
    if session is None:
        raise ConfigurationError(
            f"this {name} is attached to no ORM session, so it is unknown in which transaction its turn is to be "
            "enqueued: add it to the session first (session.add(message)), and enqueue it before you commit"
        )
    if suspends != (suspending is not None):
        has = "a sync Session" if suspending is None else "an AsyncSession"
        raise ConfigurationError(
            f"this {name} is attached to {has}, and its turn table was made with {made_with}: make the table with "
            "the engine or sessionmaker of that session"
        )
    with values_hidden():
        if suspending is not None:
            await suspending.run_sync(work)
        else:
            work(session)
