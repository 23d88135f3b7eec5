"""The shapes of what a V1 server answers, as values of no dialect.

A shape that is none of these raises KeyError, TypeError, AttributeError or ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opencode_sessions.protocol import events
from opencode_sessions.protocol.events import StoredMessage
from opencode_sessions.protocol.values import Health, Message, SessionInfo

Json = Mapping[str, Any]


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
    return Message(parse_envelope(body["info"]), tuple(body.get("parts") or ()))


def parse_status(status: Json, **base: Any) -> events.SessionStatus:
    """One entry of `/session/status`, or what `session.status` says."""
    return events.SessionStatus(
        status=status["type"],
        attempt=status.get("attempt"),
        message=status.get("message"),
        next=status.get("next"),
        **base,
    )


def parse_sessions(body: Sequence[Json]) -> list[SessionInfo]:
    """Sessions, in their order."""
    return [parse_session(each) for each in body]


def parse_messages(body: Sequence[Json]) -> list[Message]:
    """Stored messages, in their order."""
    return [parse_message(each) for each in body]


def parse_statuses(body: Json) -> dict[str, events.SessionStatus]:
    """`/session/status`, by session id."""
    return {key: parse_status(each, session_id=key) for key, each in body.items()}


def parse_permissions(body: Sequence[Json]) -> list[events.PermissionAsked]:
    """The pending permission requests."""
    return [parse_permission(each) for each in body]


def parse_questions(body: Sequence[Json]) -> list[events.QuestionAsked]:
    """The pending questions."""
    return [parse_question(each) for each in body]


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


def parse_envelope(info: Json) -> StoredMessage:
    """A message without its parts."""
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
    found = {
        "name": error.get("name") or error.get("_tag") or "UnknownError",
        "message": data.get("message") or error.get("message") or "",
        "status": data.get("statusCode"),
        "retryable": data.get("isRetryable"),
    }
    return {key: value for key, value in found.items() if value is not None}
