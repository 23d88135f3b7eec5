"""What a V1 server can be asked.

`POST /api/session` is the one route that takes the caller's id, and is idempotent by it; it takes no title,
rules or metadata, so those follow in a PATCH, whose rules are appended and whose metadata replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.permissions import Rule, to_json
from opencode_sessions.wire.http import Request

Json = Mapping[str, Any]

CURSOR = "x-next-cursor"
"""The header of a listing that says where the next page begins."""

_HEALTH = 10.0
"""Seconds until a server must have answered how it is."""


def health() -> Request:
    """Answers `{healthy, version}`; on the V2 line, the web app. A server that hangs is given up soon."""
    return Request("GET", "/global/health", repeatable=True, within=_HEALTH)


def config(directory: str) -> Request:
    """The configuration that holds in a directory, with that of the directory if the server reads it (1.18.33)."""
    return Request("GET", "/config", _scope(directory), repeatable=True)


def file(directory: str, path: str) -> Request:
    """A file as `{type, content}`; empty if the server's machine has none there (1.18.33)."""
    return Request("GET", "/file/content", {**_scope(directory), "path": path}, repeatable=True)


def listing(directory: str) -> Request:
    """What is in a directory; 500 if the server's machine has none there (1.18.33)."""
    return Request("GET", "/file", {**_scope(directory), "path": "."}, repeatable=True)


def list_files(directory: str | None, path: str) -> Request:
    """The files and folders in a folder, no links among them; 500 if there is none (1.18.33)."""
    return Request("GET", "/api/fs/list", {**_location(directory), "path": path}, repeatable=True)


def read_file(directory: str | None, path: str) -> Request:
    """A file's bytes. A link in the directory is followed, as long as it leads to the directory (1.18.33)."""
    return Request("GET", f"/api/fs/read/{quote(path)}", _location(directory), repeatable=True, raw=True)


def dispose(directory: str) -> Request:
    """Lets the server forget what it has loaded of a directory; it loads it again when it is next asked."""
    return Request("POST", "/instance/dispose", _scope(directory), repeatable=True)


def event_stream() -> Request:
    """The events of all directories."""
    return Request("GET", "/global/event")


PROBE = "tui.command.execute"
"""What a probe comes back as: a command for a terminal interface, which ignores what it does not know."""


def probe(nonce: str, *, directory: str | None) -> Request:
    """Makes the server say something on its event stream that has no effect and belongs to no session."""
    body = {"type": PROBE, "properties": {"command": nonce}}
    return Request("POST", "/tui/publish", _scope(directory), json=body, repeatable=True)


def create_with_id(session_id: str, *, directory: str | None) -> Request:
    """Idempotent; the directory goes into the body, the query is ignored here."""
    body: dict[str, Any] = {"id": session_id}
    if directory is not None:
        body["location"] = {"directory": directory}
    return Request("POST", "/api/session", json=body, repeatable=True, creation=True)


def create(
    *,
    directory: str | None,
    title: str | None,
    rules: Iterable[Rule],
    metadata: Json | None,
    parent_id: str | None,
) -> Request:
    """The server chooses the id; not repeatable."""
    body = _given(
        title=title, metadata=metadata, parentID=parent_id, permission=to_json(tuple(rules)) or None
    )
    return Request("POST", "/session", _scope(directory), json=body, creation=True)


def get(session_id: str) -> Request:
    """404 where there is none."""
    return _on(session_id, "GET", "", repeatable=True)


def update(
    session_id: str, *, title: str | None, rules: Iterable[Rule] | None, metadata: Json | None
) -> Request:
    """Rules are appended: the same list twice decides as once, so this is repeatable."""
    permission = None if rules is None else to_json(tuple(rules))
    body = _given(title=title, metadata=metadata, permission=permission)
    return _on(session_id, "PATCH", "", json=body, repeatable=True)


def delete(session_id: str) -> Request:
    """Does not stop the model of a busy session: abort first."""
    return _on(session_id, "DELETE", "", repeatable=True)


def abort(session_id: str) -> Request:
    """Answers `true` for a session that does not exist, too."""
    return _on(session_id, "POST", "/abort", repeatable=True)


def list_sessions(*, directory: str | None, search: str | None, limit: int, cursor: str | None) -> Request:
    """The only listing with a cursor."""
    params = _scope(directory) | _given(search=search, cursor=cursor) | {"limit": str(limit)}
    return Request("GET", "/experimental/session", params, repeatable=True)


def children(session_id: str) -> Request:
    """Sub-agents' sessions."""
    return _on(session_id, "GET", "/children", repeatable=True)


def status(*, directory: str | None) -> Request:
    """Only busy and retrying sessions of one directory are listed."""
    return Request("GET", "/session/status", _scope(directory), repeatable=True)


def messages(session_id: str, *, limit: int, cursor: str | None) -> Request:
    """The `limit` newest before the cursor, oldest first."""
    params = {"limit": str(limit)} | _given(before=cursor)
    return _on(session_id, "GET", "/message", params=params, repeatable=True)


def message(session_id: str, message_id: str) -> Request:
    """404 if the prompt never arrived."""
    return _on(session_id, "GET", f"/message/{quote(message_id, safe='')}", repeatable=True)


def todos(session_id: str) -> Request:
    """The agent's todo list as it is; stored, so that it survives a restart."""
    return _on(session_id, "GET", "/todo", repeatable=True)


def prompt(
    session_id: str,
    *,
    message_id: str,
    parts: Iterable[Json],
    agent: str | None,
    model: str | None,
    system: str | None,
    variant: str | None,
    schema: Json | None,
) -> Request:
    """Answers 204: accepted, no more. `tools` is never sent: it would replace the session's whole rules."""
    provider, _, name = (model or "").partition("/")
    body: dict[str, Any] = {"messageID": message_id, "parts": [dict(part) for part in parts]}
    body |= _given(agent=agent, system=system, variant=variant)
    body |= {"model": {"providerID": provider, "modelID": name}} if model else {}
    body |= {"format": {"type": "json_schema", "schema": dict(schema)}} if schema is not None else {}
    return _on(session_id, "POST", "/prompt_async", json=body)


def pending_permissions(*, directory: str | None) -> Request:
    """What waits for leave in one directory."""
    return Request("GET", "/permission", _scope(directory), repeatable=True)


def answer_permission(request_id: str, reply: str, *, message: str | None, directory: str | None) -> Request:
    """Found from its own directory only, but also when its session was deleted."""
    path = f"/permission/{quote(request_id, safe='')}/reply"
    return Request("POST", path, _scope(directory), json={"reply": reply} | _given(message=message))


def answer_permission_of(session_id: str, request_id: str, reply: str) -> Request:
    """Found from every directory; takes no message."""
    path = f"/permissions/{quote(request_id, safe='')}"
    return _on(session_id, "POST", path, json={"response": reply})


def pending_questions(*, directory: str | None) -> Request:
    """What the agents of one directory ask."""
    return Request("GET", "/question", _scope(directory), repeatable=True)


def answer_question(request_id: str, answers: Iterable[Iterable[str]], *, directory: str | None) -> Request:
    """One list of labels for each question."""
    body = {"answers": [list(labels) for labels in answers]}
    return Request("POST", f"/question/{quote(request_id, safe='')}/reply", _scope(directory), json=body)


def reject_question(request_id: str, *, directory: str | None) -> Request:
    """The agent hears that nobody answers."""
    return Request("POST", f"/question/{quote(request_id, safe='')}/reject", _scope(directory))


def fork(session_id: str, message_id: str | None) -> Request:
    """Drops rules, agent, model and parent; keeps metadata."""
    return _on(session_id, "POST", "/fork", json=_given(messageID=message_id))


def revert(session_id: str, message_id: str, part_id: str | None) -> Request:
    """409 while busy."""
    return _on(session_id, "POST", "/revert", json=_given(messageID=message_id, partID=part_id))


def unrevert(session_id: str) -> Request:
    """Undoes a revert."""
    return _on(session_id, "POST", "/unrevert")


def _on(session_id: str, method: str, tail: str, **more: Any) -> Request:
    if not isinstance(session_id, str) or not session_id:
        raise ConfigurationError(f"a session is named by its id, which is a text, not by {session_id!r}")
    path = f"/session/{quote(session_id, safe='')}{tail}"
    return Request(method, path, session_id=session_id, **more)


def _location(directory: str | None) -> dict[str, str]:
    return {} if directory is None else {"location[directory]": directory}


def _scope(directory: str | None) -> dict[str, str]:
    return {} if directory is None else {"directory": directory}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
