"""The shapes of what a V2 server answers, as values of no dialect.

A shape that is none of these raises KeyError, TypeError, AttributeError or ValueError, which repeats no value.

A message of the assistant does not say what it answers: that is the user's message before it. `Thread` says so.
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
    """None if this is not how a V2 server says that it is well. The first ones did not say their version."""
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
    """Likewise, without what is said of each."""
    return frozenset(body["data"].keys())


def next_page(body: Any, _: Mapping[str, str]) -> str | None:
    """The cursor of a list's next page."""
    cursor: str | None = body["cursor"].get("next")
    return cursor


def message_of(session_id: str) -> Callable[[Json], Message]:
    """Reads one stored message of a session, which does not say what it answers."""
    return lambda body: _message(body["data"], session_id)


def messages_of(session_id: str) -> Callable[[Json], list[Message]]:
    """Reads a page of a session's stored messages, newest first."""
    return lambda body: [_message(each, session_id) for each in body["data"]]


def parse_permissions(body: Json) -> list[events.PermissionAsked]:
    """The pending permission requests."""
    return [parse_permission(each) for each in body["data"]]


def parse_forms(body: Json) -> list[events.QuestionAsked]:
    """The pending forms."""
    return [parse_form(each) for each in body["data"]]


def parse_permission(p: Json, **base: Any) -> events.PermissionAsked:
    """A pending permission request, or what `permission.asked` says."""
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
    """A pending form, or what `form.created` tells of. One that is no question of the agent's has no questions."""
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
    """Says of messages, which it is given newest first, what each answers."""

    def __init__(self) -> None:
        self._held: list[Message] = []

    def take(self, message: Message) -> list[Message]:
        """Those of which it is known by now, newest first."""
        if message.info.role != "user":
            self._held.append(message)
            return []
        told = list(_told(self._held, message.info.id))
        self._held.clear()
        return [*told, message]


def _told(held: Sequence[Message], prompt_id: str) -> Iterable[Message]:
    """The answer to a prompt, newest first; with what ended it, if none of its own messages says so."""
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
    """Was a step interrupted? A server that shuts down does that too, and goes on at its next start.

    So that is the end only if the session went idle after it, which the server stores as a message of its own.
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
    """Did a person refuse this tool call without a word? Then the server interrupts the session."""
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
    """A text, or a thought. The server stores what it says when it has ended."""
    part = {"id": f"{message_id}-{kind}-{ordinal}", "type": kind, "text": said(said_so_far)}
    if not said_so_far:
        return part
    time = time if isinstance(time, Mapping) else {}
    created = time.get("created", 0)
    return part | {"time": times(created, time.get("completed", created))}


def tool_part(
    session_id: str, message_id: str, call_id: str, tool: str | None, state: Json
) -> dict[str, Any]:
    """A tool call. What `state` leaves out stays as it is known."""
    part_id = f"{message_id}-{call_id}"
    content = [item for item in state.get("content") or () if isinstance(item, Mapping)]
    files = [item for item in content if item.get("type") == "file"]
    error = state.get("error")
    given = {
        "status": _STATUSES.get(state["status"], state["status"]),
        # While it is streamed it is a text, of which nobody can make anything.
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
    """`{type, message, status}` as this library has errors."""
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
