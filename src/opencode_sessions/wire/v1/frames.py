"""Turns the frames of a V1 server's event stream into events that are the same on both lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from opencode_sessions.protocol import events
from opencode_sessions.protocol.events import Event
from opencode_sessions.protocol.plain import said
from opencode_sessions.wire.dialect import Hears, Json
from opencode_sessions.wire.shapes import objects, optional, text
from opencode_sessions.wire.v1 import responses, session_peek

__all__ = ["decode_event", "is_repetition", "parse_event", "read"]

_log = logging.getLogger("opencode_sessions.stream")

_REPETITION = b'"payload":{"type":"sync"'
_PAYLOAD = b'"payload":{'


def read(data: bytes, hears: Hears) -> tuple[Event, ...]:
    """The event in a frame; nothing if nobody needs it."""
    event = decode_event(data, hears)
    return () if event is None else (event,)


def decode_event(data: bytes, hears: Hears | None = None) -> Event | None:
    """One event's data as an event.

    Args:
        data: The frame's data.
        hears: Whether a session has a subscriber. Without it, every event is parsed.

    Returns:
        None for a repetition, for an event of a session without a subscriber, and for invalid JSON, which is logged.
    """
    if is_repetition(data):
        return None
    if (
        hears is not None
        and (session_id := session_peek.session_of(data)) is not None
        and not hears(session_id)
    ):
        return None
    try:
        frame = json.loads(data)
    except (ValueError, RecursionError) as error:
        _log.warning("an event that is not JSON was dropped (%s, %d bytes)", error, len(data))
        return None
    return parse_event(frame)


def is_repetition(data: bytes) -> bool:
    """Whether this is a `sync` frame, which repeats a durable event. Only its first bytes are read."""
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
        return events.Unknown(kind=said(kind), properties=frame)
    directory = frame.get("directory") if isinstance(frame.get("directory"), str) else None
    session_id = properties.get("sessionID") if isinstance(properties.get("sessionID"), str) else None
    parser = _PARSERS.get(kind)
    if parser is not None:
        try:
            return parser(properties, {"session_id": session_id, "directory": directory})
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
            pass  # a shape that this release does not know: passed through below
    return events.Unknown(kind=kind, properties=properties, session_id=session_id, directory=directory)


def _session_changed(p: Json, base: dict[str, Any], *, created: bool) -> Event:
    info = p["info"]
    return events.SessionChanged(
        created=created,
        parent_id=optional(info.get("parentID")),
        title=optional(info.get("title")),
        **base,
    )


def _part_changed(p: Json, base: dict[str, Any]) -> Event:
    (part,) = objects([p["part"]])
    return events.PartChanged(part_id=text(part["id"]), message_id=text(part["messageID"]), part=part, **base)


def _part_delta(p: Json, base: dict[str, Any]) -> Event:
    return events.PartDelta(
        part_id=text(p["partID"]),
        message_id=text(p["messageID"]),
        field=text(p["field"]),
        delta=text(p["delta"]),
        **base,
    )


_PARSERS: dict[str, Callable[[Json, dict[str, Any]], Event]] = {
    "server.connected": lambda _, base: events.Connected(**base),
    "server.heartbeat": lambda _, base: events.Heartbeat(**base),
    "session.created": lambda p, base: _session_changed(p, base, created=True),
    "session.updated": lambda p, base: _session_changed(p, base, created=False),
    "session.deleted": lambda _, base: events.SessionDeleted(**base),
    "session.status": lambda p, base: responses.parse_status(p["status"], **base),
    "session.idle": lambda _, base: events.SessionIdle(**base),
    "session.error": lambda p, base: events.SessionFailed(error=responses.flat_error(p.get("error")), **base),
    "message.updated": lambda p, base: events.MessageChanged(
        message=responses.parse_envelope(p["info"]), **base
    ),
    "message.removed": lambda p, base: events.MessageRemoved(message_id=text(p["messageID"]), **base),
    "message.part.updated": _part_changed,
    "message.part.delta": _part_delta,
    "message.part.removed": lambda p, base: events.PartRemoved(
        part_id=text(p["partID"]), message_id=text(p["messageID"]), **base
    ),
    "permission.asked": lambda p, base: responses.parse_permission(p, **base),
    "permission.replied": lambda p, base: events.PermissionReplied(
        request_id=text(p.get("requestID") or p["permissionID"]),
        reply=text(p.get("reply") or p["response"]),
        **base,
    ),
    "question.asked": lambda p, base: responses.parse_question(p, **base),
    "question.replied": lambda p, base: events.QuestionReplied(
        request_id=text(p["requestID"]), answers=tuple(tuple(labels) for labels in p["answers"]), **base
    ),
    "question.rejected": lambda p, base: events.QuestionReplied(
        request_id=text(p["requestID"]), answers=None, **base
    ),
    "todo.updated": lambda p, base: events.TodosChanged(todos=responses.parse_todos(p["todos"]), **base),
}
