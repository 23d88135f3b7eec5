"""When a database refused a transaction only because another one won, whatever library reports it."""

from __future__ import annotations

__all__ = ["ATTEMPTS", "lost_to_another"]

ATTEMPTS = 10
"""How often a transaction that lost is tried in all."""

# The other transaction won, and ours left nothing behind: serialization failure, deadlock.
_SQLSTATES = frozenset({"40001", "40P01"})

# MySQL's and MariaDB's own numbers for a deadlock and for a snapshot that is out of date: few of their drivers keep
# an SQLSTATE. Not 1205, a lock that was waited for in vain, nor SQLite's "database is locked": nobody has won there,
# and waited has been enough.
_NUMBERS = frozenset({1213, 1020})


def lost_to_another(cause: object) -> bool:
    """Does the driver's own error say so?"""
    sqlstate = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    number = next(iter(getattr(cause, "args", ())), None)
    return sqlstate in _SQLSTATES or number in _NUMBERS
