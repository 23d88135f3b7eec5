"""The keyword arguments for `Turn` that a host's function gives of a message, checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.uploads import Uploads
from opencode_sessions.host.settings import TurnOptionsFor
from opencode_sessions.turns.turn import Turn
from opencode_sessions.validation import meant_among, not_awaitable

__all__ = ["turn_options", "with_uploads"]

_OPTIONS = [
    name for name, each in inspect.signature(Turn).parameters.items() if each.kind is each.KEYWORD_ONLY
]


def turn_options(name: str, function: TurnOptionsFor, message: Any) -> Mapping[str, Any]:
    """What the function gives.

    Args:
        name: What the host calls the function.
        function: The host's.
        message: Whose turn it is.

    Raises:
        ConfigurationError: That is no mapping, or says something that `Turn` does not take.
    """
    given = not_awaitable(name, function(message))
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{name} must return a dict of keyword arguments for Turn, not {given!r}")
    for option in given:
        if option not in _OPTIONS:
            raise ConfigurationError(
                f"{name} says {option!r}, which Turn does not take. {meant_among(_OPTIONS, str(option))}"
            )
    return given


def with_uploads(options: Mapping[str, Any], uploads: Uploads | None, message: Any) -> Mapping[str, Any]:
    """The options, and with them the files that a person has sent with the message.

    Raises:
        ConfigurationError: There are some, and the host does not say where they are.
    """
    attached = getattr(message, "opencode_uploads", None)
    if not attached:
        return options
    if uploads is None:
        raise ConfigurationError(
            f"a {type(message).__name__} has files in opencode_uploads, and the host does not say where uploads are: "
            "give its settings `uploads`"
        )
    return {**options, "files": uploads.attached(attached, besides=options.get("files", ()))}
