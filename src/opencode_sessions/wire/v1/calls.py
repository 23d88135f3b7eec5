"""The requests of the V1 line, and the reading of their answers.

`POST /api/session` is the only route that accepts the caller's id, and is idempotent by it. It accepts no title, rules
or metadata, so a PATCH sends those. The server appends the rules of a PATCH, and replaces the metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from opencode_sessions.protocol.events import PermissionAsked, QuestionAsked, SessionStatus
from opencode_sessions.protocol.permissions import Rule, to_json
from opencode_sessions.protocol.values import Health, Message, SessionInfo
from opencode_sessions.wire import alike
from opencode_sessions.wire.alike import on_session, without_none
from opencode_sessions.wire.dialect import PROBE, Call, Json, Reader
from opencode_sessions.wire.http import Request
from opencode_sessions.wire.v1 import frames, responses

_CURSOR = "x-next-cursor"
"""The header of a list with the cursor of the next page."""

list_files, read_file = alike.list_files, alike.read_file

_HEALTH = 10.0
"""Seconds within which a server must answer the health request."""


def health() -> Call[Health | None]:
    """Answers `{healthy, version}`; on the V2 line, the web app. The timeout is short, for a server that hangs."""
    request = Request("GET", "/global/health", repeatable=True, within=_HEALTH)
    return Call(request, responses.parse_health)


def config(directory: str | None) -> Call[Json]:
    """The configuration for a directory, with the directory's own if the server reads it (1.18.33).

    Args:
        directory: None for the server's own.
    """
    return Call(Request("GET", "/config", _scope(directory), repeatable=True), responses.parse_object)


def file(directory: str, path: str) -> Call[Json]:
    """A file as `{type, content}`; empty if the file does not exist (1.18.33)."""
    params = {**_scope(directory), "path": path}
    return Call(Request("GET", "/file/content", params, repeatable=True), responses.parse_object)


def listing(directory: str) -> Call[Any]:
    """The entries of a directory; 500 if the directory does not exist (1.18.33)."""
    return Call(Request("GET", "/file", {**_scope(directory), "path": "."}, repeatable=True))


def dispose(directory: str) -> Call[Any]:
    """Make the server unload a directory; it loads the directory again at the next request."""
    return Call(Request("POST", "/instance/dispose", _scope(directory), repeatable=True))


def events() -> Request:
    """The events of all directories."""
    return Request("GET", "/global/event")


def probe(*, directory: str | None) -> Request:
    """A command for a terminal interface, which ignores unknown commands."""
    body = {"type": "tui.command.execute", "properties": {"command": PROBE}}
    return Request("POST", "/tui/publish", _scope(directory), json=body, repeatable=True)


def reader() -> Reader:
    """A reader without state: each frame is complete in itself."""
    return frames.read


def thread() -> responses.Thread:
    """A thread without state: each message names the prompt that it answers."""
    return responses.Thread()


def create(
    session_id: str,
    *,
    directory: str | None,
    title: str | None,
    rules: Sequence[Rule],
    metadata: Json | None,
) -> list[Call[SessionInfo]]:
    """Idempotent. The directory goes into the body, because the server ignores the query here."""
    body: dict[str, Any] = {"id": session_id}
    if directory is not None:
        body["location"] = {"directory": directory}
    request = Request("POST", "/api/session", json=body, repeatable=True, creation=True)
    made = Call(request, responses.parse_session)
    if title is None and metadata is None and not rules:
        return [made]
    return [made, *update(session_id, title=title, rules=rules or None, metadata=metadata)]


def create_unnamed(
    *,
    directory: str | None,
    title: str | None,
    rules: Sequence[Rule],
    metadata: Json | None,
    parent_id: str | None,
) -> Call[SessionInfo]:
    """One request, with title, rules and metadata."""
    body = without_none(title=title, metadata=metadata, parentID=parent_id, permission=to_json(rules) or None)
    request = Request("POST", "/session", _scope(directory), json=body, creation=True)
    return Call(request, responses.parse_session)


def get(session_id: str) -> Call[SessionInfo]:
    """The server answers 404 if there is no such session."""
    return Call(_on(session_id, "GET", "", repeatable=True), responses.parse_session)


def update(
    session_id: str, *, title: str | None, rules: Iterable[Rule] | None, metadata: Json | None
) -> list[Call[SessionInfo]]:
    """Rules are appended: the same list twice decides as once, so this is repeatable."""
    permission = None if rules is None else to_json(tuple(rules))
    body = without_none(title=title, metadata=metadata, permission=permission)
    return [Call(_on(session_id, "PATCH", "", json=body, repeatable=True), responses.parse_session)]


def delete(session_id: str) -> Call[Any]:
    """Does not stop the model of a busy session: abort first."""
    return Call(_on(session_id, "DELETE", "", repeatable=True))


def abort(session_id: str) -> Call[Any]:
    """Answers `true` for a session that does not exist, too."""
    return Call(_on(session_id, "POST", "/abort", repeatable=True))


def waiting(session_id: str) -> None:
    """None: the server begins every prompt at once."""


def withdraw(session_id: str, message_id: str) -> None:
    """None, as for `waiting`."""


def sessions(
    *, directory: str | None, search: str | None, limit: int, cursor: str | None
) -> Call[list[SessionInfo]]:
    """The only listing with a cursor."""
    params = _scope(directory) | without_none(search=search, cursor=cursor) | {"limit": str(limit)}
    request = Request("GET", "/experimental/session", params, repeatable=True)
    return Call(request, responses.parse_sessions, _next_sessions)


def children(session_id: str) -> Call[list[SessionInfo]]:
    """The sessions of sub-agents."""
    return Call(_on(session_id, "GET", "/children", repeatable=True), responses.parse_sessions)


def statuses(*, directory: str | None) -> Call[dict[str, SessionStatus]]:
    """Only busy and retrying sessions of one directory are listed."""
    return Call(_status(directory), responses.parse_statuses)


def busy(*, directory: str | None) -> Call[frozenset[str]]:
    """The ids of the busy sessions of one directory."""
    return Call(_status(directory), responses.parse_busy)


def messages(session_id: str, *, limit: int, cursor: str | None) -> Call[list[Message]]:
    """The `limit` newest before the cursor, newest first."""
    params = {"limit": str(limit)} | without_none(before=cursor)
    request = _on(session_id, "GET", "/message", params=params, repeatable=True)
    return Call(request, responses.parse_messages, _next_messages)


def message(session_id: str, message_id: str) -> Call[Message]:
    """The server answers 404 if the prompt never arrived."""
    request = _on(session_id, "GET", f"/message/{quote(message_id, safe='')}", repeatable=True)
    return Call(request, responses.parse_message)


def todos(session_id: str) -> Call[tuple[Json, ...]]:
    """The agent's current todo list. The server stores it, so it survives a restart."""
    return Call(_on(session_id, "GET", "/todo", repeatable=True), responses.parse_todos)


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
) -> list[Call[Any]]:
    """The server answers 204 once it has accepted the prompt. `tools` is never sent: it would replace all rules."""
    provider, _, name = (model or "").partition("/")
    body: dict[str, Any] = {"messageID": message_id, "parts": [dict(part) for part in parts]}
    body |= without_none(agent=agent, system=system, variant=variant)
    body |= {"model": {"providerID": provider, "modelID": name}} if model else {}
    body |= {"format": {"type": "json_schema", "schema": dict(schema)}} if schema is not None else {}
    return [Call(_on(session_id, "POST", "/prompt_async", json=body))]


def permissions(*, directory: str | None) -> Call[list[PermissionAsked]]:
    """The pending permission requests of one directory."""
    request = Request("GET", "/permission", _scope(directory), repeatable=True)
    return Call(request, responses.parse_permissions)


def answer_permission(
    session_id: str, request_id: str, reply: str, *, message: str | None, directory: str | None
) -> Call[Any]:
    """Without a directory, the server finds the request by its session, and takes no message.

    With one, the server finds only requests of that directory, also those of a deleted session.
    """
    if directory is None and message is None:
        path = f"/permissions/{quote(request_id, safe='')}"
        return Call(_on(session_id, "POST", path, json={"response": reply}))
    path = f"/permission/{quote(request_id, safe='')}/reply"
    return Call(
        Request("POST", path, _scope(directory), json={"reply": reply} | without_none(message=message))
    )


def questions(*, directory: str | None) -> Call[list[QuestionAsked]]:
    """The pending questions of one directory."""
    request = Request("GET", "/question", _scope(directory), repeatable=True)
    return Call(request, responses.parse_questions)


def form(session_id: str, request_id: str) -> None:
    """None: an answer on this line needs no form."""


def answer_question(
    session_id: str | None,  # noqa: ARG001 - likewise
    request_id: str,
    answers: Iterable[Iterable[str]],
    *,
    form: Json | None,  # noqa: ARG001 - likewise
    directory: str | None,
) -> Call[Any]:
    """The answer has one list of labels for each question."""
    body = {"answers": [list(labels) for labels in answers]}
    path = f"/question/{quote(request_id, safe='')}/reply"
    return Call(Request("POST", path, _scope(directory), json=body))


def reject_question(
    session_id: str | None,  # noqa: ARG001 - likewise
    request_id: str,
    *,
    directory: str | None,
) -> Call[Any]:
    """The agent is told that it gets no answer."""
    return Call(Request("POST", f"/question/{quote(request_id, safe='')}/reject", _scope(directory)))


def fork(session_id: str, message_id: str | None) -> Call[SessionInfo]:
    """Drops rules, agent, model and parent; keeps metadata."""
    request = _on(session_id, "POST", "/fork", json=without_none(messageID=message_id))
    return Call(request, responses.parse_session)


def move(session_id: str, directory: str) -> Call[Any]:
    """The session works in another directory from now on (1.18.33)."""
    body = {"sessionID": session_id, "destination": {"directory": directory}}
    path = "/experimental/control-plane/move-session"
    return Call(Request("POST", path, json=body, session_id=session_id, repeatable=True))


def revert(session_id: str, message_id: str, part_id: str | None) -> list[Call[SessionInfo]]:
    """The server answers 409 while the session is busy."""
    request = _on(session_id, "POST", "/revert", json=without_none(messageID=message_id, partID=part_id))
    return [Call(request, responses.parse_session)]


def unrevert(session_id: str) -> list[Call[SessionInfo]]:
    """Undoes a revert."""
    return [Call(_on(session_id, "POST", "/unrevert"), responses.parse_session)]


def _status(directory: str | None) -> Request:
    return Request("GET", "/session/status", _scope(directory), repeatable=True)


def _next_sessions(_: Any, headers: Mapping[str, str]) -> str | None:
    cursor = headers.get(_CURSOR)
    # The cursor is a time in milliseconds, and excludes that millisecond. Sessions of the same millisecond as the
    # page's last one would be left out (1.18.33).
    return str(int(cursor) + 1) if cursor and cursor.isdigit() else cursor


def _next_messages(_: Any, headers: Mapping[str, str]) -> str | None:
    return headers.get(_CURSOR)


def _on(session_id: str, method: str, tail: str, **more: Any) -> Request:
    return on_session("/session", session_id, method, tail, **more)


def _scope(directory: str | None) -> dict[str, str]:
    return {} if directory is None else {"directory": directory}
