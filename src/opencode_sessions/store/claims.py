"""The text of a record's lock: `"<seconds since 1970> <holder>"`, with the time of its expiry; or null."""

from __future__ import annotations

__all__ = ["claim", "holder_of", "other_holder"]


def claim(holder: str, until: float) -> str:
    """The text for this holder."""
    return f"{until:.3f} {holder}"


def holder_of(claimed: str | None) -> str | None:
    """The holder, whether or not the lock has expired."""
    return claimed.partition(" ")[2] if claimed else None


def other_holder(claimed: str | None, holder: str, now: float) -> str | None:
    """The other holder of a lock that has not expired; None without one."""
    if not claimed or holder_of(claimed) == holder or float(claimed.partition(" ")[0]) <= now:
        return None
    return holder_of(claimed)
