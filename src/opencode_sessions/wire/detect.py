"""Which line of OpenCode a server is of, and which versions of it this library speaks with."""

from __future__ import annotations

import re

from opencode_sessions.wire.dialect import Dialect
from opencode_sessions.wire.v1 import calls as v1
from opencode_sessions.wire.v2 import calls as v2

__all__ = ["HEALTH_OF_V2", "SUPPORTED", "V1", "V2", "is_of_v2", "is_supported"]

SUPPORTED = ">=1.18.20, <2, or >=2.0.19, <3"

V1: Dialect = v1
V2: Dialect = v2

HEALTH_OF_V2 = (
    "/api/info",
    "/api/status",
    "/api/health",
)  # of 2.0.6 and later, before that, and of the first ones

_RANGES = (((1, 18, 20), (2,)), ((2, 0, 19), (3,)))


def is_of_v2(version: str) -> bool:
    """Is this a version of the V2 line?"""
    return version.startswith("2.")


def is_supported(version: str) -> bool:
    """Does this library speak with a server of this version?"""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    number = tuple(map(int, found.groups())) if found is not None else ()
    return any(first <= number < last for first, last in _RANGES)
