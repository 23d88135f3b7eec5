"""An order that could never strike is refused when it is given, or a test would wait for it in vain."""

from __future__ import annotations

import math

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.proxy.faults import chosen

__all__ = ["check_bytes", "check_direction", "check_number"]


def check_direction(direction: object, *, both: bool = False) -> None:
    """Refuse what is no direction.

    Args:
        direction: "up" or "down".
        both: So may None, which means both.

    Raises:
        ConfigurationError: It is none.
    """
    if direction not in chosen(None) and not (both and direction is None):
        names = ['"up"', '"down"', *(["None"] if both else [])]
        raise ConfigurationError(
            f"direction must be {', '.join(names[:-1])} or {names[-1]}, not {direction!r}"
        )


def check_number(name: str, number: object, *, whole: bool = False, above_zero: bool = False) -> None:
    """Refuse what is no number from 0 on, or cannot be reached.

    Args:
        name: What it is.
        number: It.
        whole: It is a number of bytes.
        above_zero: And not 0 either.

    Raises:
        ConfigurationError: It is none.
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
    """Refuse what no bytes could match.

    Raises:
        ConfigurationError: It is no bytes.
    """
    if not isinstance(matching, bytes):
        raise ConfigurationError(f"what is matched are bytes, such as b'/prompt_async', not {matching!r}")
