"""All that belongs to the V1 line of the server alone: its routes, and the shapes of what it says.

Seen on opencode 1.18.33. A new dialect is a module like this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from opencode_sessions.protocol import events
from opencode_sessions.protocol.events import Event, StoredMessage
from opencode_sessions.protocol.permissions import Rule, to_json
from opencode_sessions.protocol.values import Health, Message, SessionInfo
from opencode_sessions.wire.http import Request

__all__ = [
    "CURSOR_OF_MESSAGES",
    "CURSOR_OF_SESSIONS",
    "PROBE",
    "is_repetition",
    "parse_event",
    "parse_message",
]

Json = Mapping[str, Any]

CURSOR_OF_MESSAGES = "x-next-cursor"
CURSOR_OF_SESSIONS = "x-next-cursor"

_REPETITION = b'"payload":{"type":"sync"'
_PAYLOAD = b'"payload":{'


# Requests. `POST /api/session` is the one route that takes the caller's id, and is idempotent by it; it takes
# no title, rules or metadata, so those follow in a PATCH, whose rules are appended and metadata replaced.


def health() -> Request:
    """Answers `{healthy, version}`; on the V2 line, the web app."""
    return Request("GET", "/global/health", repeatable=True)


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


def prompt(
    session_id: str,
    *,
    message_id: str,
    parts: Iterable[Json],
    agent: str | None,
    model: str | None,
    system: str | None,
    variant: str | None,
) -> Request:
    """Answers 204: accepted, no more. `tools` is never sent: it would replace the session's whole rules."""
    provider, _, name = (model or "").partition("/")
    body: dict[str, Any] = {"messageID": message_id, "parts": [dict(part) for part in parts]}
    body |= _given(agent=agent, system=system, variant=variant)
    body |= {"model": {"providerID": provider, "modelID": name}} if model else {}
    return _on(session_id, "POST", "/prompt_async", json=body)


def pending_permissions(*, directory: str | None) -> Request:
    """What waits for leave in one directory."""
    return Request("GET", "/permission", _scope(directory), repeatable=True)


def answer_permission(session_id: str, request_id: str, reply: str, message: str | None) -> Request:
    """Found from every directory, unlike `/permission/{id}/reply`; but only that one takes a message."""
    if message is None:
        path = f"/permissions/{quote(request_id, safe='')}"
        return _on(session_id, "POST", path, json={"response": reply})
    body = {"reply": reply, "message": message}
    return Request("POST", f"/permission/{quote(request_id, safe='')}/reply", json=body)


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
    path = f"/session/{quote(session_id, safe='')}{tail}"
    return Request(method, path, session_id=session_id, **more)


def _scope(directory: str | None) -> dict[str, str]:
    return {} if directory is None else {"directory": directory}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


# Answers.


def parse_health(body: Json) -> Health | None:
    """None if this is not how a V1 server says that it is well."""
    if body.get("healthy") is True and isinstance(body.get("version"), str):
        return Health(body["version"])
    return None


def parse_session(body: Json) -> SessionInfo:
    """A session, from any route (`/api/session` wraps it in `data`)."""
    body = body.get("data", body)
    time = body.get("time") or {}
    location = body.get("location") or {}
    return SessionInfo(
        id=body["id"],
        title=body.get("title") or "",
        directory=body.get("directory") or location.get("directory"),
        parent_id=body.get("parentID"),
        rules=tuple(body.get("permission") or ()),
        metadata=body.get("metadata") or {},
        created=time.get("created", 0),
        updated=time.get("updated", 0),
        cost=body.get("cost") or 0.0,
    )


def parse_message(body: Json) -> Message:
    """A stored message."""
    return Message(_envelope(body["info"]), tuple(body.get("parts") or ()))


def parse_status(status: Json, **base: Any) -> events.SessionStatus:
    """One entry of `/session/status`, or what `session.status` says."""
    return events.SessionStatus(
        status=status["type"],
        attempt=status.get("attempt"),
        message=status.get("message"),
        next=status.get("next"),
        **base,
    )


def parse_permission(p: Json, **base: Any) -> events.PermissionAsked:
    """A pending permission request, or what `permission.asked` says."""
    return events.PermissionAsked(
        permission=p["permission"],
        patterns=tuple(p.get("patterns") or ()),
        metadata=p.get("metadata") or {},
        **(_ask(p) | base),
    )


def parse_question(p: Json, **base: Any) -> events.QuestionAsked:
    """A pending question, or what `question.asked` says."""
    return events.QuestionAsked(questions=tuple(p["questions"]), **(_ask(p) | base))


def _ask(p: Json) -> dict[str, Any]:
    tool = p.get("tool") or {}
    return {
        "session_id": p["sessionID"],
        "request_id": p["id"],
        "call_id": tool.get("callID"),
        "message_id": tool.get("messageID"),
    }


def _envelope(info: Json) -> StoredMessage:
    tokens = info.get("tokens") or {}
    cache = tokens.get("cache") or {}
    return StoredMessage(
        id=info["id"],
        session_id=info["sessionID"],
        role=info.get("role") or "",
        parent_id=info.get("parentID"),
        completed=(info.get("time") or {}).get("completed") is not None,
        finish=info.get("finish"),
        error=None if info.get("error") is None else flat_error(info["error"]),
        cost=float(info.get("cost") or 0),
        tokens={
            "input": int(tokens.get("input") or 0),
            "output": int(tokens.get("output") or 0),
            "reasoning": int(tokens.get("reasoning") or 0),
            "cache_read": int(cache.get("read") or 0),
            "cache_write": int(cache.get("write") or 0),
        },
    )


def flat_error(error: Any) -> dict[str, Any]:
    """`{name, data: {message, statusCode, isRetryable}}` as one flat object."""
    if not isinstance(error, Mapping):
        return {"name": "UnknownError", "message": str(error)}
    data = error.get("data")
    data = data if isinstance(data, Mapping) else {}
    return _given(
        name=error.get("name") or error.get("_tag") or "UnknownError",
        message=data.get("message") or error.get("message") or "",
        status=data.get("statusCode"),
        retryable=data.get("isRetryable"),
    )


# Events.


def is_repetition(data: bytes) -> bool:
    """Is this a `sync` frame, which repeats a durable event? Told from its head, without parsing it."""
    # Before the payload stand only strings, in which a quote is escaped: the first match is the real one.
    return data.startswith(_REPETITION, data.find(_PAYLOAD))


def parse_event(frame: Any) -> Event:
    """A frame of `/global/event` or `/event` as an event; what is not understood is `Unknown`. Never raises."""
    if not isinstance(frame, Mapping):
        return events.Unknown(kind="", properties={"frame": frame})
    payload = frame.get("payload", frame)
    kind = payload.get("type") if isinstance(payload, Mapping) else None
    properties = payload.get("properties") if isinstance(payload, Mapping) else None
    if not isinstance(kind, str) or not isinstance(properties, Mapping):
        return events.Unknown(kind=str(kind or ""), properties=frame)
    directory = frame.get("directory") if isinstance(frame.get("directory"), str) else None
    session_id = properties.get("sessionID") if isinstance(properties.get("sessionID"), str) else None
    parser = _PARSERS.get(kind)
    if parser is not None:
        try:
            return parser(properties, {"session_id": session_id, "directory": directory})
        except (KeyError, TypeError, ValueError, AttributeError):
            pass  # a shape that this release does not know: passed through below
    return events.Unknown(kind=kind, properties=properties, session_id=session_id, directory=directory)


def _session_changed(p: Json, base: dict[str, Any], *, created: bool) -> Event:
    info = p["info"]
    return events.SessionChanged(
        created=created, parent_id=info.get("parentID"), title=info.get("title"), **base
    )


def _part_changed(p: Json, base: dict[str, Any]) -> Event:
    part = p["part"]
    return events.PartChanged(part_id=part["id"], message_id=part["messageID"], part=part, **base)


def _part_delta(p: Json, base: dict[str, Any]) -> Event:
    return events.PartDelta(
        part_id=p["partID"],
        message_id=p["messageID"],
        field=p["field"],
        delta=p["delta"],
        **base,
    )


_PARSERS: dict[str, Callable[[Json, dict[str, Any]], Event]] = {
    "server.connected": lambda _, base: events.Connected(**base),
    "server.heartbeat": lambda _, base: events.Heartbeat(**base),
    "session.created": lambda p, base: _session_changed(p, base, created=True),
    "session.updated": lambda p, base: _session_changed(p, base, created=False),
    "session.deleted": lambda _, base: events.SessionDeleted(**base),
    "session.status": lambda p, base: parse_status(p["status"], **base),
    "session.idle": lambda _, base: events.SessionIdle(**base),
    "session.error": lambda p, base: events.SessionFailed(error=flat_error(p.get("error")), **base),
    "message.updated": lambda p, base: events.MessageChanged(message=_envelope(p["info"]), **base),
    "message.removed": lambda p, base: events.MessageRemoved(message_id=p["messageID"], **base),
    "message.part.updated": _part_changed,
    "message.part.delta": _part_delta,
    "message.part.removed": lambda p, base: events.PartRemoved(
        part_id=p["partID"], message_id=p["messageID"], **base
    ),
    "permission.asked": lambda p, base: parse_permission(p, **base),
    "permission.replied": lambda p, base: events.PermissionReplied(
        request_id=p.get("requestID") or p["permissionID"],
        reply=p.get("reply") or p["response"],
        **base,
    ),
    "question.asked": lambda p, base: parse_question(p, **base),
    "question.replied": lambda p, base: events.QuestionReplied(
        request_id=p["requestID"], answers=tuple(tuple(labels) for labels in p["answers"]), **base
    ),
    "question.rejected": lambda p, base: events.QuestionReplied(
        request_id=p["requestID"], answers=None, **base
    ),
    "todo.updated": lambda p, base: events.TodosChanged(todos=tuple(p["todos"]), **base),
}
