"""The checked keyword arguments for `Turn` from a host's function."""

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
    """The options from the host's function.

    Args:
        name: The name of the setting, for errors.
        function: The host's function.
        message: The message of the turn.

    Raises:
        ConfigurationError: The result is not a mapping, or has an argument that `Turn` does not have.
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
    """The options, together with the files that a person has sent with the message.

    Raises:
        ConfigurationError: There are such files, and the host's settings have no `uploads`.
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
