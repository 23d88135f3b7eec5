"""New ids in the server's own form, chosen by us before the server knows the object.

An id is a prefix, twelve hex digits of time and fourteen base62 characters: ``ses_f2a1…``, ``msg_0d5e…``,
``prt_0d5e…``. Only the characters make it unique, with 83 random bits; the server keys messages by their id across all
sessions. The time is there because the server's ids have it. It has 36 bits of milliseconds, repeats every 2.2 years,
and is not reliable. Order matters only for the parts of one prompt, which the server sorts by their id.

A session's id can have a mark between the two: six characters derived from names. They identify our sessions even if a
crash left one without metadata.

This is the only module of this layer that reads a clock; its functions also accept the time.
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
"""The namespace of sessions without another one. Several projects on one server may use it."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS = 14
_MARK_CHARACTERS = 6
_TIME_DIGITS = 12
_TIME_MASK = (1 << 48) - 1
_SESSION_ID = re.compile(r"ses_[0-9A-Za-z_-]+")


def new_session_id(*, mark: str = "", time_ns: int | None = None) -> str:
    """A new session id. As with the server's own ids, newer ones mostly sort first.

    Args:
        mark: A result of `mark_of`.
        time_ns: Nanoseconds since 1970; by default the present time.
    """
    return f"ses_{~_ticks(time_ns) & _TIME_MASK:012x}{mark}{_random()}"


def mark_of(*names: str) -> str:
    """The mark of these names, the same in every process and version. Two sets share one in 1 of 57 billion cases."""
    number = int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest())
    digits = []
    for _ in range(_MARK_CHARACTERS):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(digits)


def marked(session_id: str, mark: str) -> bool:
    """Does a session's id have this mark? An id without a mark is shorter, so it never matches."""
    length = len("ses_") + _TIME_DIGITS + _MARK_CHARACTERS + _RANDOM_CHARACTERS
    return len(session_id) == length and session_id.startswith(mark, len("ses_") + _TIME_DIGITS)


def new_message_id(*, time_ns: int | None = None) -> str:
    """A new message id. Never use one id in two sessions: the second message would overwrite the first.

    Args:
        time_ns: Nanoseconds since 1970; by default the present time.
    """
    return f"msg_{_ticks(time_ns) & _TIME_MASK:012x}{_random()}"


def new_part_id(*, time_ns: int | None = None) -> str:
    """A new part id.

    Args:
        time_ns: Nanoseconds since 1970; by default the present time.
    """
    return f"prt_{_ticks(time_ns) & _TIME_MASK:012x}{_random()}"


def is_session_id(text: str) -> bool:
    """Whether `text` can be a session's id, and can be put into a URL's path unchanged.

    The server checks only the prefix, and other programs may make other ids, so length and digits are not checked.
    """
    return _SESSION_ID.fullmatch(text) is not None


def _ticks(time_ns: int | None) -> int:
    """The time in 4096ths of a millisecond. The server counts ids within a millisecond; a finer clock does the same."""
    return (time.time_ns() if time_ns is None else time_ns) * 4096 // 1_000_000


def _random() -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_CHARACTERS))
