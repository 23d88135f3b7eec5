"""The requests that are the same on both lines of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.wire.dialect import Call, Json
from opencode_sessions.wire.http import Request
from opencode_sessions.wire.shapes import objects, text

__all__ = ["list_files", "location", "on_session", "read_file", "without_none"]


def list_files(directory: str | None, path: str) -> Call[Mapping[str, str]]:
    """The files and folders in a folder, without links; 500 if the folder does not exist (1.18.33)."""
    params = {**location(directory), "path": path}
    return Call(Request("GET", "/api/fs/list", params, repeatable=True), _files)


def read_file(directory: str | None, path: str) -> Request:
    """A file's bytes. The server follows a link if it stays in the directory (1.18.33)."""
    return Request("GET", f"/api/fs/read/{quote(path)}", location(directory), repeatable=True, raw=True)


def on_session(root: str, session_id: str | None, method: str, tail: str, **more: Any) -> Request:
    """A request about a session, below the route of all sessions.

    Raises:
        ConfigurationError: The text cannot be a session's id.
    """
    if not isinstance(session_id, str) or not session_id:
        raise ConfigurationError(f"a session is named by its id, which is a text, not by {session_id!r}")
    return Request(method, f"{root}/{quote(session_id, safe='')}{tail}", session_id=session_id, **more)


def location(directory: str | None) -> dict[str, str]:
    """The parameter of a route below `/api` that names a directory."""
    return {} if directory is None else {"location[directory]": directory}


def without_none(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _files(body: Json) -> dict[str, str]:
    return {
        text(each["path"]).rstrip("/").rpartition("/")[2]: text(each["type"])
        for each in objects(body["data"])
    }
