"""Ids in the server's own form: a prefix, 12 hexadecimal digits of time and counter, 14 random characters."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Mapping
from typing import Any

__all__ = ["message_id_of", "new_id", "now"]

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_MASK = (1 << 48) - 1
_COUNTER_BITS = 12
_last = [0]


def now() -> int:
    """The time in milliseconds, as all of the server's times are."""
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    """An id such as `msg_0f20390f7001jA04614ddziNvD`. Those of sessions count down, so the newest sorts first."""
    _last[0] = moment = max(_last[0] + 1, now() << _COUNTER_BITS)
    if prefix == "ses":
        moment = ~moment
    return f"{prefix}_{moment & _MASK:012x}{''.join(secrets.choice(_ALPHABET) for _ in range(14))}"


def message_id_of(event: Mapping[str, Any]) -> str:
    """The id of the message that an event becomes."""
    return "msg_" + str(event["id"]).removeprefix("evt_")
