"""What is easily mixed up is refused where it is given, and not where it would first be used."""

from __future__ import annotations

from opencode_sessions.errors import ConfigurationError

__all__ = ["check", "check_id"]


def check(holds: bool, rule: str, given: object) -> None:  # noqa: FBT001 - it reads as an assertion does
    """Refuse what breaks a rule.

    Args:
        holds: The rule is kept.
        rule: As in "deadlines must be Deadlines".
        given: What was given.

    Raises:
        ConfigurationError: It is broken.
    """
    if not holds:
        raise ConfigurationError(f"{rule}, not {_shown(given)}")


def check_id(name: str, given: object) -> None:
    """Refuse what can be no id.

    Raises:
        ConfigurationError: It is no text, or an empty one.
    """
    check(isinstance(given, str) and given != "", f"{name} must be an id, which is a text", given)


def _shown(given: object) -> str:
    """A plain value as it is; else whose object it is, which tells apart what has the same name."""
    kind = type(given)
    return repr(given) if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"
