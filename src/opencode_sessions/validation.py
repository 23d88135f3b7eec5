"""What is easily mixed up is refused where it is given, and not where it would first be used."""

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
    require(isinstance(given, str) and given != "", f"{name} must be an id, which is a text", given)


def check_ordinary(name: str, function: object) -> None:
    """Refuse a coroutine function whose result nobody would await.

    Raises:
        ConfigurationError: It is one.
    """
    if is_coroutine_function(function):
        raise _nobody_awaits(name)


def not_awaitable(name: str, given: T) -> T:
    """What a function or property of the host's returned.

    Raises:
        ConfigurationError: It must be awaited first, and nobody would do that.
    """
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            given.close()
        raise _nobody_awaits(name)
    return given


def no_coroutine(name: str, given: object) -> None:
    """Refuse a coroutine that a callback returned. What runs by itself, such as a task, is the host's own affair.

    Raises:
        ConfigurationError: It is one.
    """
    if inspect.iscoroutine(given):
        not_awaitable(name, given)


def is_coroutine_function(given: object) -> bool:
    """Does a call of it return a coroutine? Also of an object whose `__call__` does."""
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(
        getattr(type(given), "__call__", None)  # noqa: B004 - the method is meant, not whether there is one
    )


def meant_among(known: Collection[str], said: str) -> str:
    """A sentence for whoever said what is not known: what was likely meant, else all that is."""
    near = difflib.get_close_matches(said, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."


def _nobody_awaits(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} must not be async, also with opencode_sessions.aio: nobody would await it"
    )


def _shown(given: object) -> str:
    """A plain value as it is; else whose object it is, which tells apart what has the same name."""
    kind = type(given)
    return repr(given) if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"
