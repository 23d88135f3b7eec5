"""Checks of arguments when they are given, rather than at their first use."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection
from typing import TypeVar

from opencode_sessions.errors import ConfigurationError

__all__ = [
    "check_id",
    "check_ordinary",
    "is_coroutine_function",
    "meant_among",
    "no_coroutine",
    "not_awaitable",
    "require",
]

T = TypeVar("T")


def require(holds: bool, rule: str, given: object) -> None:  # noqa: FBT001 - it reads as an assertion does
    """Raise an error unless a rule holds.

    Args:
        holds: Whether the rule holds.
        rule: The rule, such as "deadlines must be Deadlines".
        given: The value that was given.

    Raises:
        ConfigurationError: The rule does not hold.
    """
    if not holds:
        raise ConfigurationError(f"{rule}, not {_shown(given)}")


def check_id(name: str, given: object) -> None:
    """Check an id.

    Raises:
        ConfigurationError: It is not a text, or empty.
    """
    require(isinstance(given, str) and given != "", f"{name} must be an id, which is a text", given)


def check_ordinary(name: str, function: object) -> None:
    """Refuse a coroutine function, whose result no caller would await.

    Raises:
        ConfigurationError: The function is a coroutine function.
    """
    if is_coroutine_function(function):
        raise _nobody_awaits(name)


def not_awaitable(name: str, given: T) -> T:
    """The value that a function or property of the host's returned.

    Raises:
        ConfigurationError: The value must be awaited, and no caller would do that.
    """
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            given.close()
        raise _nobody_awaits(name)
    return given


def no_coroutine(name: str, given: object) -> None:
    """Refuse a coroutine that a callback returned. A task is accepted, as it runs by itself.

    Raises:
        ConfigurationError: It is a coroutine.
    """
    if inspect.iscoroutine(given):
        not_awaitable(name, given)


def is_coroutine_function(given: object) -> bool:
    """Does a call return a coroutine? An object with such a `__call__` counts, too."""
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(
        getattr(type(given), "__call__", None)  # noqa: B004 - the method is meant, not whether there is one
    )


def meant_among(known: Collection[str], said: str) -> str:
    """A sentence for an error about an unknown name: the likely right name, else all known names."""
    near = difflib.get_close_matches(said, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."


def _nobody_awaits(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} must not be async, also with opencode_sessions.aio: nobody would await it"
    )


def _shown(given: object) -> str:
    """A plain value as it is; for any other, its module and class, which tells apart classes with the same name."""
    kind = type(given)
    return repr(given) if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"
