"""What is done when the caller's transaction has committed.

SQLAlchemy's event `after_commit` comes with each savepoint, too, and while the connection is still held. An action
waits for the end of the outermost transaction, and is dropped with the savepoint, or the transaction, that it came in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

__all__ = ["after_commit"]

_INFO = "opencode_sessions.after_commit"


def after_commit(session: Session | None, action: Callable[[], None]) -> None:
    """Call `action` once, when the transaction that the ORM session has open has committed; at once if none is open.

    It is called in the thread that commits, before `commit()` returns, in the order of these calls.
    """
    if session is not None and session.in_transaction():
        _Actions.of(session).add(session, action)
    else:
        action()


class _Actions:
    """What is to be done when the transactions of one ORM session, savepoints included, have been committed."""

    def __init__(self) -> None:
        self._actions: dict[SessionTransaction | None, list[Callable[[], None]]] = {}
        self._committed: SessionTransaction | None = None

    @classmethod
    def of(cls, session: Session) -> _Actions:
        """Those of this session, which it keeps itself."""
        if _INFO not in session.info:
            session.info[_INFO] = actions = cls()
            event.listen(session, "after_commit", actions._after_commit)
            event.listen(session, "after_transaction_end", actions._after_end)
        return cast("_Actions", session.info[_INFO])

    def add(self, session: Session, action: Callable[[], None]) -> None:
        self._actions.setdefault(_innermost(session), []).append(action)

    def _after_commit(self, session: Session) -> None:
        # A savepoint's release comes here, too. What is to be done waits for the end, when no connection is held.
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
