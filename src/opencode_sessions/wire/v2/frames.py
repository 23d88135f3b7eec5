"""Turns the frames of a V2 server's event stream into events that are the same on both lines.

A frame says what happened, not the new state. So a `Reader` keeps, for each session with a subscriber, which prompt
is being answered, and for each running tool call what earlier frames said about it.

    session.inbox.delivered     the user's message; what the assistant says from here on answers it
    session.step.started        a message of the assistant's …
    session.text|tool|….*       … its parts …
    session.step.ended|failed   … and its end
    session.execution.*         the session works, and rests

A connection that begins in the middle of an answer does not know which prompt is answered. Then a `Gap` tells the
subscribers to read the stored messages, which say so. The session's log after the last event says less: it has no
deltas, and it does not say which asks are pending.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from opencode_sessions.protocol import events
from opencode_sessions.protocol.events import Event, StoredMessage
from opencode_sessions.protocol.plain import said
from opencode_sessions.wire.dialect import Hears, Json
from opencode_sessions.wire.shapes import optional, text
from opencode_sessions.wire.v2 import responses

__all__ = ["Reader"]

_log = logging.getLogger("opencode_sessions.stream")

_FAMILY = frozenset({"session.created", "session.deleted"})
"""They name a session's parent, which must be known before its subscribers can be found."""

_HEAD = re.compile(
    rb'\{"id":"\w++","created":\d++,"type":"([\w.]++)",(?:"location":\{"directory":"[^"\\]*+"\},)?'
    rb'"data":\{"sessionID":"(\w++)"[,}]'
)
"""The first bytes of a frame of a session: so frames of sessions without a subscriber are not parsed."""

_MOST = 1024
"""How many sessions' prompts are remembered, and how many tool calls: of more, the oldest are forgotten."""


class Reader:
    """Reads the frames of one connection, in their order. Never raises."""

    def __init__(self) -> None:
        self._prompts: dict[str, str] = {}  # by session
        self._no_prompts: set[str] = set()  # what waits in an inbox and is no prompt
        self._calls: dict[tuple[str, str], dict[str, Any]] = {}  # by message and call
        self._open: dict[
            str, set[str]
        ] = {}  # by message: its parts of text that were begun and have not ended

    def __call__(self, data: bytes, hears: Hears) -> Iterable[Event]:
        """The events in a frame."""
        head = _HEAD.match(data)
        if head is not None and head[1].decode() not in _FAMILY and not hears(head[2].decode()):
            return ()
        try:
            frame = json.loads(data)
        except (ValueError, RecursionError) as error:
            _log.warning("an event that is not JSON was dropped (%s, %d bytes)", error, len(data))
            return ()
        return self.read(frame, hears)

    def read(self, frame: Any, hears: Hears) -> Iterable[Event]:
        """The events in a frame that is parsed already."""
        if not isinstance(frame, Mapping):
            return (events.Unknown(kind="", properties={"frame": frame}),)
        kind, data = frame.get("type"), frame.get("data")
        if not isinstance(kind, str) or not isinstance(data, Mapping):
            return (events.Unknown(kind=said(kind), properties=frame),)
        form = data.get("form")
        about = form if isinstance(form, Mapping) else data
        session_id = about.get("sessionID") if isinstance(about.get("sessionID"), str) else None
        if session_id is not None and kind not in _FAMILY and not hears(session_id):
            return ()
        place = frame.get("location")
        directory = place.get("directory") if isinstance(place, Mapping) else None
        base = {
            "session_id": session_id,
            "directory": directory if isinstance(directory, str) else None,
        }
        parser = _PARSERS.get(kind)
        if parser is not None:
            try:
                return tuple(parser(self, data, {**base, "at": frame.get("created")}))
            except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
                pass  # a shape that this release does not know: passed through below
        return (events.Unknown(kind=kind, properties=data, **base),)

    # The inbox, and what is answered.

    def enqueued(self, p: Json, _: Any) -> Iterator[Event]:
        """Something is enqueued: a prompt, or another kind, which is remembered."""
        if p["item"]["type"] != "user":
            self._no_prompts.add(text(p["inboxID"]))
        return iter(())

    def delivered(self, p: Json, at: Any) -> Iterator[Event]:
        """A prompt becomes a message."""
        prompt_id = text(p["inboxID"])
        if prompt_id in self._no_prompts:
            self._no_prompts.discard(prompt_id)
            return
        _remember(self._prompts, at["session_id"], prompt_id)
        message = StoredMessage(prompt_id, text(at["session_id"]), "user")
        yield events.MessageChanged(message=message, **_base(at))

    # The assistant's messages.

    def step_started(self, p: Json, at: Any) -> Iterator[Event]:
        """A message begins, or is tried once more: text that was begun and did not end is sent again."""
        message_id = text(p["assistantMessageID"])
        for part_id in self._open.pop(message_id, ()):
            yield events.PartRemoved(part_id=part_id, message_id=message_id, **_base(at))
        prompt_id = self._prompts.get(text(at["session_id"]))
        if prompt_id is None:
            yield events.Gap(reason="the answer had begun before the event stream did", **_base(at))
        yield self._message(message_id, prompt_id, at)

    def step_ended(self, p: Json, at: Any) -> Iterator[Event]:
        """A message is complete. If it was interrupted, the stored messages say whether the turn has ended."""
        message_id = text(p["assistantMessageID"])
        error = None if p.get("error") is None else responses.flat_error(p["error"])
        aborted = responses.is_aborted(error)
        self._open.pop(message_id, None)
        self._calls = {key: call for key, call in self._calls.items() if key[0] != message_id}
        yield self._message(
            message_id,
            self._prompts.get(text(at["session_id"])),
            at,
            completed=not aborted,
            finish=optional(p.get("finish")),
            error=None if aborted else error,
            **responses.bill_of(p),
        )

    def _message(self, message_id: str, prompt_id: str | None, at: Any, **more: Any) -> Event:
        message = StoredMessage(message_id, at["session_id"], "assistant", prompt_id, **more)
        return events.MessageChanged(message=message, **_base(at))

    # Their parts.

    def text_changed(self, p: Json, at: Any, kind: str) -> Iterator[Event]:
        """A text or a thought begins or ends."""
        message_id, ended = text(p["assistantMessageID"]), "text" in p
        part = responses.text_part(message_id, kind, p["ordinal"], p.get("text", ""))
        if ended:
            self._open.get(message_id, set()).discard(part["id"])
            part["time"] = responses.times(None, at["at"] or 0)
        else:
            self._open.setdefault(message_id, set()).add(part["id"])
        yield events.PartChanged(part_id=part["id"], message_id=message_id, part=part, **_base(at))

    def text_delta(self, p: Json, at: Any, kind: str) -> Iterator[Event]:
        """More of a text or a thought."""
        message_id = text(p["assistantMessageID"])
        yield events.PartDelta(
            part_id=f"{message_id}-{kind}-{p['ordinal']}",
            message_id=message_id,
            field="text",
            delta=text(p["delta"]),
            **_base(at),
        )

    def tool_changed(self, p: Json, at: Any, status: str) -> Iterator[Event]:
        """A tool call goes on, or ends."""
        message_id, call_id = text(p["assistantMessageID"]), text(p["id"])
        if (message_id, call_id) not in self._calls:
            _remember(self._calls, (message_id, call_id), {})
        call = self._calls[message_id, call_id]
        call.update(
            {name: p[name] for name in ("name", "input", "content", "error", "metadata") if name in p}
        )
        call.setdefault("started", at["at"])
        time = responses.times(call["started"], at["at"] if status in ("completed", "error") else None)
        state = {**call, "status": status, "time": time}
        part = responses.tool_part(at["session_id"], message_id, call_id, call.get("name"), state)
        yield events.PartChanged(part_id=part["id"], message_id=message_id, part=part, **_base(at))

    def content_changed(self, p: Json, at: Any) -> Iterator[Event]:
        """A message's content was replaced."""
        message_id = text(p["messageID"])
        for part in responses.parts_of(text(at["session_id"]), message_id, p["content"]):
            yield events.PartChanged(part_id=part["id"], message_id=message_id, part=part, **_base(at))

    # The session's work.

    def rested(self, p: Json, at: Any) -> Iterator[Event]:
        """An execution ended. Its messages say how."""
        base = _base(at)
        if "error" in p:
            yield events.SessionFailed(error=responses.flat_error(p["error"]), **base)
        yield events.SessionStatus(status="idle", **base)
        yield events.SessionIdle(**base)


Parser = Callable[[Reader, Json, Mapping[str, Any]], Iterable[Event]]


def _base(at: Mapping[str, Any]) -> dict[str, Any]:
    return {"session_id": at["session_id"], "directory": at["directory"]}


def _remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    known.pop(key, None)
    known[key] = value
    if len(known) > _MOST:
        del known[next(iter(known))]


def _one(make: Callable[[Json, dict[str, Any]], Event]) -> Parser:
    return lambda _, p, at: (make(p, _base(at)),)


def _text(kind: str) -> dict[str, Parser]:
    return {
        f"session.{kind}.started": lambda reader, p, at: reader.text_changed(p, at, kind),
        f"session.{kind}.delta": lambda reader, p, at: reader.text_delta(p, at, kind),
        f"session.{kind}.ended": lambda reader, p, at: reader.text_changed(p, at, kind),
    }


def _tool(status: str) -> Parser:
    return lambda reader, p, at: reader.tool_changed(p, at, status)


def _answers(answer: Json) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(map(str, value)) if isinstance(value, list) else (str(value),) for value in answer.values()
    )


_PARSERS: dict[str, Parser] = {
    "server.connected": _one(lambda _, base: events.Connected(**base)),
    "session.created": _one(
        lambda p, base: events.SessionChanged(
            created=True, parent_id=optional(p.get("parentID")), title=optional(p.get("title")), **base
        )
    ),
    "session.renamed": _one(
        lambda p, base: events.SessionChanged(created=False, parent_id=None, title=text(p["title"]), **base)
    ),
    "session.deleted": _one(lambda _, base: events.SessionDeleted(**base)),
    "session.inbox.enqueued": Reader.enqueued,
    "session.inbox.delivered": Reader.delivered,
    "session.execution.started": _one(lambda _, base: events.SessionStatus(status="busy", **base)),
    "session.execution.succeeded": Reader.rested,
    "session.execution.failed": Reader.rested,
    "session.execution.interrupted": Reader.rested,
    "session.retry.scheduled": _one(
        lambda p, base: events.SessionStatus(
            status="retry",
            attempt=p["attempt"],
            message=said(p["error"].get("message")),
            next=p["at"],
            **base,
        )
    ),
    "session.step.started": Reader.step_started,
    "session.step.ended": Reader.step_ended,
    "session.step.failed": Reader.step_ended,
    **_text("text"),
    **_text("reasoning"),
    "session.tool.input.started": _tool("pending"),
    "session.tool.called": _tool("running"),
    "session.tool.progress": _tool("running"),
    "session.tool.success": _tool("completed"),
    "session.tool.failed": _tool("error"),
    "session.message.content.updated": Reader.content_changed,
    "permission.asked": _one(lambda p, base: responses.parse_permission(p, **base)),
    "permission.replied": _one(
        lambda p, base: events.PermissionReplied(
            request_id=text(p["requestID"]), reply=text(p["reply"]), **base
        )
    ),
    "form.created": _one(lambda p, base: responses.parse_form(p["form"], **base)),
    "form.replied": _one(
        lambda p, base: events.QuestionReplied(
            request_id=text(p["id"]), answers=_answers(p["answer"]), **base
        )
    ),
    "form.cancelled": _one(
        lambda p, base: events.QuestionReplied(request_id=text(p["id"]), answers=None, **base)
    ),
}
