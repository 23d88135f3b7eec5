"""When a database refused a transaction only because another one won, whatever library reports it."""

from __future__ import annotations

__all__ = ["ATTEMPTS", "lost_to_another"]

ATTEMPTS = 10
"""How often a transaction that lost is tried in all."""

# The other transaction won, and ours left nothing behind: serialization failure, deadlock.
_LOST_TO_ANOTHER = frozenset({"40001", "40P01"})


def lost_to_another(cause: object) -> bool:
    """Does the driver's own error say so?"""
    return (getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)) in _LOST_TO_ANOTHER
