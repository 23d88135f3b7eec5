"""The shapes of what a V1 server answers, as values of no dialect.

A shape that is none of these raises KeyError, TypeError, AttributeError or ValueError, which repeats no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opencode_sessions.protocol import events
from opencode_sessions.protocol.events import StoredMessage
from opencode_sessions.protocol.plain import plain, said
from opencode_sessions.protocol.values import Health, Message, SessionInfo
from opencode_sessions.wire.dialect import Json
from opencode_sessions.wire.shapes import number, objects, optional, text


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
    return Message(parse_envelope(body["info"]), objects(body.get("parts") or ()))


class Thread:
    """Has nothing to find out."""

    def take(self, message: Message) -> tuple[Message]:
        """It says what it answers."""
        return (message,)


def parse_todos(body: Sequence[Json]) -> tuple[Json, ...]:
    """A session's todo list, each as `{content, status, priority}`."""
    return objects(body)


def parse_status(status: Json, **base: Any) -> events.SessionStatus:
    """One entry of `/session/status`, or what `session.status` says."""
    return events.SessionStatus(
        status=text(status["type"]),
        attempt=status.get("attempt"),
        message=status.get("message"),
        next=status.get("next"),
        **base,
    )


def parse_sessions(body: Sequence[Json]) -> list[SessionInfo]:
    """Sessions, in their order."""
    return [parse_session(each) for each in body]


def parse_messages(body: Sequence[Json]) -> list[Message]:
    """Stored messages, which come oldest first, newest first."""
    return [parse_message(each) for each in reversed(body)]


def parse_object(body: Any) -> Json:
    """A JSON object, as it came."""
    (found,) = objects([body])
    return found


def parse_statuses(body: Json) -> dict[str, events.SessionStatus]:
    """`/session/status`, by session id."""
    return {key: parse_status(each, session_id=key) for key, each in body.items()}


def parse_busy(body: Json) -> frozenset[str]:
    """`/session/status`: whose sessions are listed, without what it says of each."""
    return frozenset(body.keys())


def parse_permissions(body: Sequence[Json]) -> list[events.PermissionAsked]:
    """The pending permission requests."""
    return [parse_permission(each) for each in body]


def parse_questions(body: Sequence[Json]) -> list[events.QuestionAsked]:
    """The pending questions."""
    return [parse_question(each) for each in body]


def parse_permission(p: Json, **base: Any) -> events.PermissionAsked:
    """A pending permission request, or what `permission.asked` says."""
    return events.PermissionAsked(
        permission=text(p["permission"]),
        patterns=tuple(p.get("patterns") or ()),
        metadata=p.get("metadata") or {},
        always=tuple(p.get("always") or ()),
        **(_ask(p) | base),
    )


def parse_question(p: Json, **base: Any) -> events.QuestionAsked:
    """A pending question, or what `question.asked` says."""
    return events.QuestionAsked(questions=tuple(p["questions"]), **(_ask(p) | base))


def _ask(p: Json) -> dict[str, Any]:
    tool = p.get("tool") or {}
    return {
        "session_id": text(p["sessionID"]),
        "request_id": text(p["id"]),
        "call_id": optional(tool.get("callID")),
        "message_id": optional(tool.get("messageID")),
    }


def parse_envelope(info: Json) -> StoredMessage:
    """A message without its parts."""
    tokens = info.get("tokens") or {}
    cache = tokens.get("cache") or {}
    time = info.get("time") or {}
    return StoredMessage(
        id=text(info["id"]),
        session_id=text(info["sessionID"]),
        role=said(info.get("role")),
        parent_id=optional(info.get("parentID")),
        completed=time.get("completed") is not None,
        finish=optional(info.get("finish")),
        error=None if info.get("error") is None else flat_error(info["error"]),
        cost=number(info.get("cost")),
        tokens={
            "input": int(number(tokens.get("input"))),
            "output": int(number(tokens.get("output"))),
            "reasoning": int(number(tokens.get("reasoning"))),
            "cache_read": int(number(cache.get("read"))),
            "cache_write": int(number(cache.get("write"))),
        },
        structured=plain(info.get("structured")),
        provider=said(info.get("providerID")) or None,
        model=said(info.get("modelID")) or None,
        agent=said(info.get("agent")) or None,
        time={name: time[name] for name in ("created", "completed") if isinstance(time.get(name), int)},
    )


def flat_error(error: Any) -> dict[str, Any]:
    """`{name, data: {message, statusCode, isRetryable}}` as one flat object."""
    if not isinstance(error, Mapping):
        return {"name": "UnknownError", "message": str(plain(error))}
    data = error.get("data")
    data = data if isinstance(data, Mapping) else {}
    found = {
        "name": said(error.get("name")) or said(error.get("_tag")) or "UnknownError",
        "message": said(data.get("message")) or said(error.get("message")),
        "status": plain(data.get("statusCode")),
        "retryable": plain(data.get("isRetryable")),
    }
    return {key: value for key, value in found.items() if value is not None}
