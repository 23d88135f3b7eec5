"""Checks that refuse an order that could never take effect, because a test would wait for it without end."""

from __future__ import annotations

import math

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.proxy.faults import chosen

__all__ = ["check_bytes", "check_direction", "check_number"]


def check_direction(direction: object, *, both: bool = False) -> None:
    """Check a direction.

    Args:
        direction: "up" or "down".
        both: Whether None is allowed, which means both.

    Raises:
        ConfigurationError: It is not a direction.
    """
    if direction not in chosen(None) and not (both and direction is None):
        names = ['"up"', '"down"', *(["None"] if both else [])]
        raise ConfigurationError(
            f"direction must be {', '.join(names[:-1])} or {names[-1]}, not {direction!r}"
        )


def check_number(name: str, number: object, *, whole: bool = False, above_zero: bool = False) -> None:
    """Check a finite number that must not be negative.

    Args:
        name: The argument's name.
        number: The number.
        whole: Whether it must be an integer, as a number of bytes.
        above_zero: Whether 0 is refused, too.

    Raises:
        ConfigurationError: The number is not allowed.
    """
    wanted = int if whole else int | float
    if (
        not isinstance(number, wanted)
        or isinstance(number, bool)
        or not 0 <= number < math.inf
        or (above_zero and number == 0)
    ):
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(
            f"{name} must be {kind} {'above' if above_zero else 'from'} 0, not {number!r}"
        )


def check_bytes(matching: object) -> None:
    """Check a pattern.

    Raises:
        ConfigurationError: It is not bytes, or empty.
    """
    if not isinstance(matching, bytes):
        raise ConfigurationError(f"what is matched are bytes, such as b'/prompt_async', not {matching!r}")
