"""New ids in the server's own form, for what we name before the server has heard of it.

An id is a prefix, twelve hex digits of time and fourteen base62 characters: ``ses_f2a1…``, ``msg_0d5e…``,
``prt_0d5e…``. What makes it unique are the characters alone, 83 random bits: the server keys messages by
their id across all sessions, and nobody hands out numbers. The time is there because the server puts it
there. It is cut to 36 bits of milliseconds, wraps every 2.2 years and must not be relied on; only the
parts of one prompt, which the server orders by their id, are worth making one after the other.

This is the one module of this floor that looks at a clock, and it can be told the time instead.
"""

from __future__ import annotations

import re
import secrets
import string
import time

__all__ = ["is_session_id", "new_message_id", "new_part_id", "new_session_id"]

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS = 14
_TIME_MASK = (1 << 48) - 1
_SESSION_ID = re.compile(r"ses_[0-9A-Za-z_-]+")


def new_session_id(*, time_ns: int | None = None) -> str:
    """A session id that nobody has; like the server's own, newer ones mostly sort first.

    Args:
        time_ns: Nanoseconds since 1970; now, if not given.
    """
    return f"ses_{~_ticks(time_ns) & _TIME_MASK:012x}{_random()}"


def new_message_id(*, time_ns: int | None = None) -> str:
    """A message id that nobody has. Never use it in a second session: it would overwrite the first's.

    Args:
        time_ns: Nanoseconds since 1970; now, if not given.
    """
    return f"msg_{_ticks(time_ns) & _TIME_MASK:012x}{_random()}"


def new_part_id(*, time_ns: int | None = None) -> str:
    """A part id that nobody has.

    Args:
        time_ns: Nanoseconds since 1970; now, if not given.
    """
    return f"prt_{_ticks(time_ns) & _TIME_MASK:012x}{_random()}"


def is_session_id(text: str) -> bool:
    """Whether `text` can name a session and stand in a URL's path as it is.

    The server itself looks at the prefix only, and hosts may have ids of other makers, so the length and
    the digits of the native form are not asked for.
    """
    return _SESSION_ID.fullmatch(text) is not None


def _ticks(time_ns: int | None) -> int:
    """The time in 4096ths of a millisecond: where the server counts ids within one, we just look closer."""
    return (time.time_ns() if time_ns is None else time_ns) * 4096 // 1_000_000


def _random() -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_CHARACTERS))
