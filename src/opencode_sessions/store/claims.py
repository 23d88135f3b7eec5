"""How a row says whose turn it is in: `"<seconds since 1970> <holder>"`, until that moment; or nothing."""

from __future__ import annotations

__all__ = ["claim", "holder_of", "other_holder"]


def claim(holder: str, until: float) -> str:
    """What the row says of this holder."""
    return f"{until:.3f} {holder}"


def holder_of(claimed: str | None) -> str | None:
    """Whom the row names, whether or not its time has run out."""
    return claimed.partition(" ")[2] if claimed else None


def other_holder(claimed: str | None, holder: str, now: float) -> str | None:
    """Who else holds it now, if anybody does."""
    if not claimed or holder_of(claimed) == holder or float(claimed.partition(" ")[0]) <= now:
        return None
    return holder_of(claimed)
