"""Recognize a transaction that the database rolled back because another one won, in the errors of any driver."""

from __future__ import annotations

__all__ = ["ATTEMPTS", "lost_to_another"]

ATTEMPTS = 10
"""How often a transaction that lost is attempted in all."""

# Serialization failure, deadlock: the other transaction won, and ours was rolled back.
_SQLSTATES = frozenset({"40001", "40P01"})

# The numbers of MySQL and MariaDB for a deadlock and for an outdated snapshot, as few of their drivers keep an
# SQLSTATE. Not 1205, a lock timeout, nor SQLite's "database is locked": there no transaction has won, and the wait was
# long enough.
_NUMBERS = frozenset({1213, 1020})


def lost_to_another(cause: object) -> bool:
    """Does the driver's own error say that another transaction won?"""
    sqlstate = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    number = next(iter(getattr(cause, "args", ())), None)
    return sqlstate in _SQLSTATES or number in _NUMBERS
