"""Turns a V2 server's responses into values that are the same on both lines.

An unknown shape raises KeyError, TypeError, AttributeError or ValueError. Such an error does not show any value.

An assistant's message does not name the prompt that it answers: that is the user's message before it. `Thread` adds
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opencode_sessions.protocol import events
from opencode_sessions.protocol.events import StoredMessage
from opencode_sessions.protocol.plain import plain, said
from opencode_sessions.protocol.values import Health, Message, SessionInfo
from opencode_sessions.wire.dialect import Json
from opencode_sessions.wire.shapes import number, text
from opencode_sessions.wire.v2.names import ABORTED, input_of, name_of_error, ours, rules_of

_STATUSES = {"streaming": "pending"}
_REFUSALS = ("The user declined this tool call", "The user dismissed this question")
_STOPPED = {
    "name": "Stopped",
    "message": "the agent stopped after a tool call: a permission or a question was rejected",
}
_QUESTION_FIELDS = ("string", "multiselect")


def parse_health(body: Json) -> Health | None:
    """The health, or None if the response is not that of a V2 server. The first V2 servers did not send a version."""
    body = body.get("data", body)
    if body.keys().isdisjoint(("healthy", "version")):
        return None
    return Health(said(body.get("version")) or "2.x")


def parse_session(body: Json) -> SessionInfo:
    """A session."""
    return _session(body["data"])


def parse_sessions(body: Json) -> list[SessionInfo]:
    """Sessions, in their order."""
    return [_session(each) for each in body["data"]]


def parse_active(body: Json) -> dict[str, events.SessionStatus]:
    """The sessions that this process runs, by id."""
    return {key: events.SessionStatus(session_id=key, status="busy") for key in body["data"]}


def parse_busy(body: Json) -> frozenset[str]:
    """The ids of the sessions that this process runs."""
    return frozenset(body["data"].keys())


def next_page(body: Any, _: Mapping[str, str]) -> str | None:
    """The cursor of a list's next page."""
    cursor: str | None = body["cursor"].get("next")
    return cursor


def message_of(session_id: str) -> Callable[[Json], Message]:
    """A function that reads one stored message of a session. The message does not name its prompt."""
    return lambda body: _message(body["data"], session_id)


def messages_of(session_id: str) -> Callable[[Json], list[Message]]:
    """A function that reads a page of a session's stored messages, newest first."""
    return lambda body: [_message(each, session_id) for each in body["data"]]


def parse_permissions(body: Json) -> list[events.PermissionAsked]:
    """The pending permission requests."""
    return [parse_permission(each) for each in body["data"]]


def parse_forms(body: Json) -> list[events.QuestionAsked]:
    """The pending forms."""
    return [parse_form(each) for each in body["data"]]


def parse_permission(p: Json, **base: Any) -> events.PermissionAsked:
    """A permission request, from the list of pending ones or from `permission.asked`."""
    source = p.get("source") or {}
    base = {"session_id": text(p["sessionID"])} | base
    return events.PermissionAsked(
        request_id=text(p["id"]),
        permission=ours(text(p["action"])),
        patterns=tuple(p.get("resources") or ()),
        metadata=p.get("metadata") or {},
        always=tuple(p.get("save") or ()),
        call_id=source.get("id"),
        message_id=source.get("messageID"),
        **base,
    )


def parse_form(form: Json, **base: Any) -> events.QuestionAsked:
    """A form, from the list of pending ones or from `form.created`. It has no questions if the agent did not ask it."""
    metadata = form.get("metadata") or {}
    tool = metadata.get("tool") or {}
    fields = form["fields"] if metadata.get("kind") == "question" else ()
    if not all(field.get("type") in _QUESTION_FIELDS for field in fields):
        fields = ()
    base = {"session_id": text(form["sessionID"])} | base
    return events.QuestionAsked(
        request_id=text(form["id"]),
        questions=tuple(_question(field) for field in fields),
        call_id=tool.get("id"),
        message_id=tool.get("messageID"),
        **base,
    )


def answers_to(form: Json, answers: Iterable[Iterable[str]]) -> dict[str, Any]:
    """A form's answer, from a list of labels for each of its questions.

    Raises:
        ValueError: There are more or fewer lists than questions.
    """
    answer: dict[str, Any] = {}
    for field, labels in zip(form["fields"], answers, strict=True):
        values = {option["label"]: option["value"] for option in field.get("options") or ()}
        chosen = [values.get(label, label) for label in labels]
        answer[field["key"]] = chosen if field["type"] == "multiselect" else ", ".join(chosen)
    return answer


class Thread:
    """Finds the prompt that each message answers. The messages are given newest first."""

    def __init__(self) -> None:
        self._held: list[Message] = []

    def take(self, message: Message) -> list[Message]:
        """Add one message. Returns the messages whose prompt is known now, newest first."""
        if message.info.role != "user":
            self._held.append(message)
            return []
        told = list(_told(self._held, message.info.id))
        self._held.clear()
        return [*told, message]


def _told(held: Sequence[Message], prompt_id: str) -> Iterable[Message]:
    """The answer to a prompt, newest first, with its prompt's id. Says how it ended if none of its messages does."""
    marks = [message for message in held if message.info.role in ("assistant", "idle")]
    answers = [message for message in marks if message.info.role == "assistant"]
    ended = marks[:1] != answers[:1]
    if ended and not (answers and _says_how_it_ended(answers[0].info, marks[0].info)):
        error = marks[0].info.error or {
            "name": "NoAnswer",
            "message": "the session went idle without an answer",
        }
        info = replace(marks[0].info, role="assistant", parent_id=prompt_id, completed=True, error=error)
        yield Message(info)
    for message in answers:
        info = replace(message.info, parent_id=prompt_id)
        if message is marks[0] and is_aborted(info.error):
            info = replace(info, completed=False, finish=None, error=None)
        yield Message(info, message.parts)


def is_aborted(error: Json | None) -> bool:
    """Whether a step was interrupted.

    A server that shuts down also interrupts the step, and continues it at its next start. So the turn has ended only
    if the session went idle afterwards, which the server stores as a message of its own.
    """
    return error is not None and error["name"] == ABORTED


def _says_how_it_ended(answer: StoredMessage, idle: StoredMessage) -> bool:
    if is_aborted(answer.error):
        return idle.error is None or is_aborted(idle.error)
    return answer.error is not None or (answer.completed and not answer.goes_on)


def _session(body: Json) -> SessionInfo:
    time = body.get("time") or {}
    return SessionInfo(
        id=text(body["id"]),
        title=body.get("title") or "",
        directory=body["location"]["directory"],
        parent_id=body.get("parentID"),
        rules=rules_of(body.get("permissions") or ()),
        metadata=body.get("metadata") or {},
        created=int(time.get("created", 0)),
        updated=int(time.get("updated", 0)),
        cost=number(body.get("cost")),
    )


def _message(body: Json, session_id: str) -> Message:
    base: dict[str, Any] = {"id": text(body["id"]), "session_id": session_id}
    match body["type"]:
        case "assistant":
            info = _assistant(body, **base)
            if info.error is not None and any(map(_was_refused, body["content"])):
                info = replace(info, error=_STOPPED)
            return Message(info, parts_of(session_id, body["id"], body["content"], body["time"]))
        case "user":
            part = {"id": f"{body['id']}-text-0", "type": "text", "text": body["text"]}
            return Message(StoredMessage(role="user", **base), [part])
        case "idle":
            return Message(StoredMessage(role="idle", error=_outcome(body), **base))
        case "compaction" if body.get("reason") == "auto":
            # The answer goes on after it; what it cost belongs to the turn.
            return Message(_assistant(body, finish="tool-calls", **base))
    return Message(StoredMessage(role=said(body["type"]), **base))


def _was_refused(item: Json) -> bool:
    """Whether a person refused this tool call without a message. Then the server interrupts the session."""
    error = item["state"].get("error") if item.get("type") == "tool" else None
    return isinstance(error, Mapping) and said(error.get("message")).startswith(_REFUSALS)


def _outcome(idle: Json) -> dict[str, Any] | None:
    if idle["outcome"] == "succeeded":
        return None
    if idle["outcome"] == "interrupted":
        return flat_error({"type": "aborted", "message": "the session was interrupted"})
    error = flat_error(idle.get("error"))
    # Nobody stopped it: the server was restarted too often.
    return {**error, "name": "Interrupted"} if is_aborted(error) else error


def _assistant(body: Json, *, finish: str | None = None, **base: Any) -> StoredMessage:
    model, time = body.get("model") or {}, body.get("time") or {}
    finish = finish or body.get("finish")
    return StoredMessage(
        role="assistant",
        # A step that a death broke off has a time, but no end. The next step goes on.
        completed=finish is not None or body.get("error") is not None,
        provider=said(model.get("providerID")) or None,
        model=said(model.get("id")) or None,
        agent=said(body.get("agent")) or None,
        time={name: time[name] for name in ("created", "completed") if isinstance(time.get(name), int)},
        finish=finish,
        error=None if body.get("error") is None else flat_error(body["error"]),
        **bill_of(body),
        **base,
    )


def bill_of(body: Json) -> dict[str, Any]:
    """Cost and tokens."""
    tokens = body.get("tokens") or {}
    cache = tokens.get("cache") or {}
    counts = {name: tokens.get(name) for name in ("input", "output", "reasoning")}
    counts |= {"cache_read": cache.get("read"), "cache_write": cache.get("write")}
    return {
        "cost": number(body.get("cost")),
        "tokens": {name: int(number(count)) for name, count in counts.items()},
    }


def parts_of(
    session_id: str, message_id: str, content: Iterable[Json], time: Json | None = None
) -> tuple[Json, ...]:
    """A message's content, as parts in this library's form; `time` is the message's."""
    parts: list[Json] = []
    counts = {"text": 0, "reasoning": 0}
    for item in content:
        kind = said(item.get("type"))
        if kind in counts:
            parts.append(
                text_part(message_id, kind, counts[kind], item.get("text"), item.get("time") or time)
            )
            counts[kind] += 1
        elif kind == "tool":
            parts.append(_tool(session_id, message_id, item))
    return tuple(parts)


def text_part(message_id: str, kind: str, ordinal: int, said_so_far: Any, time: Any = None) -> dict[str, Any]:
    """A text, or a thought. The server stores its text when it has ended."""
    part = {"id": f"{message_id}-{kind}-{ordinal}", "type": kind, "text": said(said_so_far)}
    if not said_so_far:
        return part
    time = time if isinstance(time, Mapping) else {}
    created = time.get("created", 0)
    return part | {"time": times(created, time.get("completed", created))}


def tool_part(
    session_id: str, message_id: str, call_id: str, tool: str | None, state: Json
) -> dict[str, Any]:
    """A tool call. Fields that `state` leaves out keep their known values."""
    part_id = f"{message_id}-{call_id}"
    content = [item for item in state.get("content") or () if isinstance(item, Mapping)]
    files = [item for item in content if item.get("type") == "file"]
    error = state.get("error")
    given = {
        "status": _STATUSES.get(state["status"], state["status"]),
        # While it is streamed it is incomplete JSON, which is of no use.
        "input": input_of(tool, state["input"]) if isinstance(state.get("input"), Mapping) else None,
        "output": "\n".join(said(item.get("text")) for item in content if item.get("type") == "text") or None,
        "error": said(error.get("message")) if isinstance(error, Mapping) else None,
        "metadata": _metadata(state.get("metadata")),
        "time": state.get("time"),
        "attachments": [
            {
                "id": f"{part_id}-file-{index}",
                "sessionID": session_id,
                "messageID": message_id,
                "type": "file",
                "mime": said(item.get("mime")),
                "filename": said(item.get("name")),
                "url": said(item.get("uri")),
            }
            for index, item in enumerate(files)
        ]
        or None,
    }
    part = {"id": part_id, "type": "tool", "callID": call_id}
    part |= {} if tool is None else {"tool": ours(tool)}
    return part | {"state": {name: value for name, value in given.items() if value is not None}}


def times(start: Any, end: Any = None) -> dict[str, int]:
    """When something began and ended, in whole milliseconds."""
    found = {"start": start, "end": end}
    return {name: int(value) for name, value in found.items() if isinstance(value, int | float)}


def _tool(session_id: str, message_id: str, item: Json) -> dict[str, Any]:
    time = item.get("time") or {}
    state = {**item["state"], "time": times(time.get("ran", time.get("created")), time.get("completed"))}
    return tool_part(session_id, message_id, text(item["id"]), text(item["name"]), state)


def _metadata(given: Any) -> Json | None:
    if not isinstance(given, Mapping) or not given:
        return None
    return {**given, "sessionId": given["sessionID"]} if "sessionID" in given else given


def _question(field: Json) -> dict[str, Any]:
    return {
        "question": field.get("description") or field.get("title") or "",
        "header": field.get("title") or "",
        "options": [
            {"label": option["label"], "description": option.get("description") or ""}
            for option in field.get("options") or ()
        ],
        "multiple": field["type"] == "multiselect",
    }


def flat_error(error: Any) -> dict[str, Any]:
    """An error in this library's form, from `{type, message, status}`."""
    if not isinstance(error, Mapping):
        return {"name": "UnknownError", "message": str(plain(error))}
    kind = said(error.get("type")) or "UnknownError"
    found = {
        "name": name_of_error(kind),
        "message": said(error.get("message")),
        "status": plain(error.get("status")),
        "type": kind,
    }
    return {key: value for key, value in found.items() if value is not None}
