"""Directories on the server's machine, in the form that the server accepts."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.storable import storable

__all__ = ["directory_of"]


def directory_of(name: str, given: object) -> str | None:
    """Check a directory; an empty one is None.

    Args:
        name: The name of the argument or attribute, for the error.
        given: A text, a path, an empty text or None.

    Raises:
        ConfigurationError: The path is not absolute, or cannot be sent to a server.
    """
    if given is None or given == "":
        return None
    if not isinstance(given, str | PurePath) or not _is_absolute(str(given)):
        raise ConfigurationError(
            f"{name} must be an absolute path on the server's machine, or None, not {given!r}"
        )
    if storable(str(given)) != str(given):
        raise ConfigurationError(
            f"{name} cannot be told to a server, it has a NUL or is not valid Unicode: {given!r}"
        )
    return str(given)


def _is_absolute(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
