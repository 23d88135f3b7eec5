"""Reads what a request says, and refuses what the contract does not allow."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from opencode_sessions.testing.v2.core import Core, project_of
from opencode_sessions.testing.v2.errors import invalid_cursor, invalid_request
from opencode_sessions.testing.v2.http import Request

__all__ = ["check_id", "choice", "directory_of", "located", "optional", "page", "place_of", "required"]

Json = dict[str, Any]

_PAGE = 50


def required(body: Mapping[str, Any], name: str, kind: type) -> Any:
    """A field that must be there.

    Raises:
        ApiError: It is missing, or of another kind.
    """
    if body.get(name) is None:
        raise invalid_request(f'Missing key\n  at ["{name}"]', kind="Payload", field=name)
    return optional(body, name, kind)


def optional(body: Mapping[str, Any], name: str, kind: type) -> Any:
    """A field that may be missing.

    Raises:
        ApiError: It is of another kind.
    """
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise invalid_request(f'Expected {kind.__name__}\n  at ["{name}"]', kind="Payload", field=name)
    return value


def choice(value: Any, name: str, choices: tuple[str, ...], *, kind: str = "Payload") -> Any:
    """A value that is one of a few, or None.

    Raises:
        ApiError: It is another one.
    """
    if value is not None and value not in choices:
        raise invalid_request(f'Expected one of {", ".join(choices)}\n  at ["{name}"]', kind=kind, field=name)
    return value


def check_id(value: str | None, prefix: str, name: str, *, kind: str = "Payload") -> str | None:
    """An id that has the right beginning, or None.

    Raises:
        ApiError: It begins otherwise.
    """
    if value is not None and not value.startswith(prefix):
        raise invalid_request(
            f'Expected a string starting with "{prefix}"\n  at ["{name}"]', kind=kind, field=name
        )
    return value


def directory_of(request: Request, core: Core) -> str:
    """The directory that a request is about: by its query, by its header, or the server's own."""
    named = request.query.get("location[directory]") or request.headers.get("x-opencode-directory")
    return named or core.directory


def location_of(directory: str) -> Json:
    """A directory as answers name it."""
    return {"directory": directory}


def located(directory: str, data: Any) -> Json:
    """An answer about a directory."""
    return {"location": location_of(directory), "data": data}


def place_of(directory: str) -> Json:
    """A directory, and the project that it belongs to."""
    project, folder = project_of(directory)
    about = {"id": project, "directory": folder, "canonical": folder}
    return {**location_of(directory), "project": about}


def page(request: Request, items: list[Json], *, longest: int | None = None) -> Json:
    """One page of a list, with cursors to the pages around it.

    Args:
        request: `limit`, `order` and `cursor` in its query say which page.
        items: The whole list, oldest first.
        longest: The most items that may be asked for.

    Raises:
        ApiError: The cursor was not given out here, or the limit is out of its range.
    """
    limit = _limit(request, longest)
    token = request.query.get("cursor")
    order, anchor, direction = request.query.get("order") or "desc", None, "next"
    choice(order, "order", ("asc", "desc"), kind="Query")
    if token is not None:
        if "order" in request.query:
            raise invalid_cursor("Cursor cannot be combined with order")
        order, anchor, direction = _decoded(token)
    ordered = items if order == "asc" else items[::-1]
    if anchor is not None:
        place = next((index for index, item in enumerate(ordered) if item["id"] == anchor), None)
        if place is None:
            ordered = []
        elif direction == "next":
            ordered = ordered[place + 1 :]
        else:
            ordered = ordered[max(0, place - limit) : place]
    shown = ordered[:limit]
    cursor = {}
    if shown:
        cursor = {
            "previous": _encoded(order, shown[0]["id"], "previous"),
            "next": _encoded(order, shown[-1]["id"], "next"),
        }
    return {"data": shown, "cursor": cursor}


def _limit(request: Request, longest: int | None) -> int:
    given = request.query.get("limit", str(_PAGE))
    if not given.isdecimal() or int(given) < 1 or (longest is not None and int(given) > longest):
        raise invalid_request(
            f'Expected a positive number, at most {longest}\n  at ["limit"]', kind="Query", field="limit"
        )
    return int(given)


def _encoded(order: str, anchor: str, direction: str) -> str:
    text = json.dumps({"id": anchor, "order": order, "direction": direction})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(token: str) -> tuple[str, str, str]:
    try:
        value = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return value["order"], value["id"], value["direction"]
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise invalid_cursor() from error
