"""New ids in the server's own form, for what we name before the server has heard of it.

An id is a prefix, twelve hex digits of time and fourteen base62 characters: ``ses_f2a1…``, ``msg_0d5e…``,
``prt_0d5e…``. What makes it unique are the characters alone, 83 random bits: the server keys messages by
their id across all sessions, and nobody hands out numbers. The time is there because the server puts it
there. It is cut to 36 bits of milliseconds, wraps every 2.2 years and must not be relied on; only the
parts of one prompt, which the server orders by their id, are worth making one after the other.

A session's id can bear a mark between the two: six characters made of names, by which its maker knows it for
its own, even where a crash left it without the metadata that would say so.

This is the one module of this layer that looks at a clock, and it can be told the time instead.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import time

__all__ = [
    "DEFAULT_NAMESPACE",
    "is_session_id",
    "mark_of",
    "marked",
    "new_message_id",
    "new_part_id",
    "new_session_id",
]

DEFAULT_NAMESPACE = "opencode-sessions"
"""Of sessions whose maker says none. Several projects on one server may have it."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS = 14
_MARK_CHARACTERS = 6
_TIME_DIGITS = 12
_TIME_MASK = (1 << 48) - 1
_SESSION_ID = re.compile(r"ses_[0-9A-Za-z_-]+")


def new_session_id(*, mark: str = "", time_ns: int | None = None) -> str:
    """A session id that nobody has; like the server's own, newer ones mostly sort first.

    Args:
        mark: One that `mark_of` made.
        time_ns: Nanoseconds since 1970; now, if not given.
    """
    return f"ses_{~_ticks(time_ns) & _TIME_MASK:012x}{mark}{_random()}"


def mark_of(*names: str) -> str:
    """The mark of these names: the same in every process and version; two sets share one in 1 of 57 billion."""
    number = int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest())
    digits = []
    for _ in range(_MARK_CHARACTERS):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(digits)


def marked(session_id: str, mark: str) -> bool:
    """Does a session's id bear this mark? An id without any is shorter, so it never seems to."""
    length = len("ses_") + _TIME_DIGITS + _MARK_CHARACTERS + _RANDOM_CHARACTERS
    return len(session_id) == length and session_id.startswith(mark, len("ses_") + _TIME_DIGITS)


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
