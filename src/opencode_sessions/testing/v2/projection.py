"""What follows from a durable event: how it changes the session, its messages and its inbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opencode_sessions.testing.v2 import history
from opencode_sessions.testing.v2.database import NO_TOKENS, Database
from opencode_sessions.testing.v2.ids import message_id_of

__all__ = ["project"]

Json = dict[str, Any]

_USER_FIELDS = ("text", "files", "agents", "skills", "metadata")
_SYNTHETIC_FIELDS = ("text", "description", "metadata")


def project(database: Database, event: Json) -> None:
    """Store what an event means. Called in the transaction that stores the event."""
    change = _CHANGES.get(event["type"])
    if change:
        change(database, event, event["data"])


# Sessions


def _created(database: Database, event: Json, data: Json) -> None:
    optional = ("parentID", "agent", "model", "title", "subpath", "metadata", "permissions")
    database.put_session(
        {
            "id": data["sessionID"],
            "projectID": data["projectID"],
            "cost": 0,
            "tokens": NO_TOKENS,
            "time": {"created": event["created"], "updated": event["created"]},
            "location": data["location"],
            **{name: data[name] for name in optional if data.get(name) is not None},
        }
    )


def _set(*names: str) -> Callable[[Database, Json, Json], None]:
    def change(database: Database, event: Json, data: Json) -> None:
        _update_session(database, event, {name: data[name] for name in names})

    return change


def _update_session(database: Database, event: Json, changes: Json) -> None:
    session = database.session(event["data"]["sessionID"])
    if session:
        session["time"]["updated"] = event["created"]
        database.put_session({**session, **changes})


def _archived(database: Database, event: Json, data: Json) -> None:
    session = database.session(data["sessionID"])
    if session:
        session["time"].pop("archived", None)
        if event["type"] == "session.archived":
            session["time"]["archived"] = event["created"]
        database.put_session(session)


def _add_usage(database: Database, event: Json, data: Json) -> None:
    session = database.session(data["sessionID"])
    if session and "tokens" in data:
        session["cost"] += data["cost"]
        session["tokens"] = _sum(session["tokens"], data["tokens"])
        session["time"]["updated"] = event["created"]
        database.put_session(session)


def _sum(one: Json, other: Json) -> Json:
    return {
        key: _sum(value, other[key]) if isinstance(value, dict) else value + other[key]
        for key, value in one.items()
    }


# The inbox


def _enqueued(database: Database, event: Json, data: Json) -> None:
    database.put_inbox_item(
        {
            "id": data["inboxID"],
            "sessionID": data["sessionID"],
            "time": {"created": event["created"]},
            **data["item"],
        }
    )


def _delivered(database: Database, event: Json, data: Json) -> None:
    item = database.take_inbox_item(data["inboxID"])
    names = _USER_FIELDS if item["type"] == "user" else _SYNTHETIC_FIELDS
    payload = {name: item["payload"][name] for name in names if name in item["payload"]}
    message = {"id": item["id"], "type": item["type"], "time": {"created": event["created"]}, **payload}
    database.put_message(data["sessionID"], message)
    _update_session(database, event, {})


def _cancelled(database: Database, _event: Json, data: Json) -> None:
    database.take_inbox_item(data["inboxID"])


def _delivery_changed(database: Database, _event: Json, data: Json) -> None:
    item = database.inbox_item(data["inboxID"])
    if item:
        database.put_inbox_item({**item, "delivery": data["delivery"]})


# Messages that an event becomes


def _append(database: Database, event: Json, kind: str, **fields: Any) -> None:
    given = {name: value for name, value in fields.items() if value is not None}
    message = {"id": message_id_of(event), "type": kind, "time": {"created": event["created"]}, **given}
    database.put_message(event["data"]["sessionID"], message)


def _agent_selected(database: Database, event: Json, data: Json) -> None:
    _update_session(database, event, {"agent": data["agent"]})
    _append(database, event, "agent-switched", agent=data["agent"], previous=data.get("previous"))


def _model_selected(database: Database, event: Json, data: Json) -> None:
    _update_session(database, event, {"model": data["model"]})
    _append(database, event, "model-switched", model=data["model"], previous=data.get("previous"))


def _synthetic(database: Database, event: Json, data: Json) -> None:
    fields = {name: data.get(name) for name in _SYNTHETIC_FIELDS}
    _append(database, event, "synthetic", **fields)


def _instructed(database: Database, event: Json, data: Json) -> None:
    if data.get("text"):
        _append(database, event, "system", text=data["text"])


def _ended(database: Database, event: Json, data: Json) -> None:
    outcome = event["type"].rpartition(".")[2]
    last = database.last_assistant(data["sessionID"])
    if last and last.pop("retry", None):
        database.put_message(data["sessionID"], last)
    if data.get("reason") == "shutdown":
        return  # the server goes on with it at its next start
    session = database.session(data["sessionID"])
    if session:
        # Each end is later than the one before, so that a viewer can tell them apart.
        idle = max(event["created"], session["time"].get("idle", 0) + 1)
        session["time"].update(idle=idle, updated=event["created"])
        database.put_session({**session, "outcome": outcome})
        _append(database, event, "idle", outcome=outcome, error=data.get("error"))


# The assistant's message


def _step_started(database: Database, event: Json, data: Json) -> None:
    session_id = data["sessionID"]
    known = database.message(data["assistantMessageID"])
    if known:
        message = known[1]
        for name in ("retry", "error", "finish"):
            message.pop(name, None)
        message["time"].pop("completed", None)
    else:
        _complete_last(database, session_id, event["created"])
        message = {
            "id": data["assistantMessageID"],
            "type": "assistant",
            "time": {"created": data["started"]},
            "content": [],
        }
    database.put_message(session_id, {**message, "agent": data["agent"], "model": data["model"]})


def _complete_last(database: Database, session_id: str, time: int) -> None:
    last = database.last_assistant(session_id)
    if last and "completed" not in last["time"]:
        last["time"]["completed"] = time
        last.pop("retry", None)
        database.put_message(session_id, last)


def _on_assistant(change: Callable[[Json, Json, Json], None]) -> Callable[[Database, Json, Json], None]:
    def wrapped(database: Database, event: Json, data: Json) -> None:
        known = database.message(data["assistantMessageID"])
        if known:
            change(known[1], event, data)
            database.put_message(data["sessionID"], known[1])

    return wrapped


@_on_assistant
def _streamed(message: Json, event: Json, _data: Json) -> None:
    message["time"]["streamed"] = event["created"]


def _step_over(database: Database, event: Json, data: Json) -> None:
    _settle_step(database, event, data)
    _add_usage(database, event, data)


@_on_assistant
def _settle_step(message: Json, event: Json, data: Json) -> None:
    message["time"]["completed"] = event["created"]
    message.pop("retry", None)
    message["finish"] = data.get("finish", "error")
    message.update({name: data[name] for name in ("error", "cost", "tokens") if name in data})


@_on_assistant
def _retry(message: Json, _event: Json, data: Json) -> None:
    message["retry"] = {name: data[name] for name in ("attempt", "at", "error")}


@_on_assistant
def _text_started(message: Json, _event: Json, _data: Json) -> None:
    message["content"].append({"type": "text", "text": ""})


@_on_assistant
def _reasoning_started(message: Json, event: Json, _data: Json) -> None:
    message["content"].append({"type": "reasoning", "text": "", "time": {"created": event["created"]}})


@_on_assistant
def _text_ended(message: Json, _event: Json, data: Json) -> None:
    _nth(message, "text", data["ordinal"])["text"] = data["text"]


@_on_assistant
def _reasoning_ended(message: Json, event: Json, data: Json) -> None:
    part = _nth(message, "reasoning", data["ordinal"])
    part["text"] = data["text"]
    part["time"]["completed"] = event["created"]


def _nth(message: Json, kind: str, ordinal: int) -> Json:
    found: Json = [part for part in message["content"] if part["type"] == kind][ordinal]
    return found


@_on_assistant
def _tool_input_started(message: Json, event: Json, data: Json) -> None:
    message["content"].append(
        {
            "type": "tool",
            "id": data["id"],
            "name": data["name"],
            "state": {"status": "streaming", "input": ""},
            "time": {"created": event["created"]},
        }
    )


@_on_assistant
def _tool_input_ended(message: Json, _event: Json, data: Json) -> None:
    _tool(message, data["id"])["state"]["input"] = data["text"]


@_on_assistant
def _tool_called(message: Json, event: Json, data: Json) -> None:
    tool = _tool(message, data["id"])
    tool["executed"] = data["executed"]
    tool["time"]["ran"] = event["created"]
    tool["state"] = {"status": "running", "input": data["input"], "metadata": {}}


@_on_assistant
def _tool_success(message: Json, event: Json, data: Json) -> None:
    tool = _tool(message, data["id"])
    tool["time"]["completed"] = event["created"]
    state = {"status": "completed", "input": _input_of(tool), "content": data["content"]}
    tool["state"] = {**state, **_metadata_of(data)}


@_on_assistant
def _tool_failed(message: Json, event: Json, data: Json) -> None:
    tool = _tool(message, data["id"])
    tool["time"]["completed"] = event["created"]
    state = {"status": "error", "input": _input_of(tool), "error": data["error"]}
    tool["state"] = {**state, **_metadata_of(data)}


def _tool(message: Json, call_id: str) -> Json:
    found: Json = next(
        part for part in message["content"] if part["type"] == "tool" and part["id"] == call_id
    )
    return found


def _input_of(tool: Json) -> Json:
    given = tool["state"]["input"]
    return given if isinstance(given, dict) else {}


def _metadata_of(data: Json) -> Json:
    return {"metadata": data["metadata"]} if data.get("metadata") else {}


_CHANGES: dict[str, Callable[[Database, Json, Json], None]] = {
    **history.CHANGES,
    "session.created": _created,
    "session.revert.staged": _set("revert"),
    "session.renamed": _set("title"),
    "session.metadata.updated": _set("metadata"),
    "session.permissions": _set("permissions"),
    "session.moved": _set("location", "projectID"),
    "session.archived": _archived,
    "session.unarchived": _archived,
    "session.usage.recorded": _add_usage,
    "session.agent.selected": _agent_selected,
    "session.model.selected": _model_selected,
    "session.synthetic": _synthetic,
    "session.instructions.updated": _instructed,
    "session.inbox.enqueued": _enqueued,
    "session.inbox.delivered": _delivered,
    "session.inbox.cancelled": _cancelled,
    "session.inbox.delivery.changed": _delivery_changed,
    "session.execution.succeeded": _ended,
    "session.execution.failed": _ended,
    "session.execution.interrupted": _ended,
    "session.step.started": _step_started,
    "session.step.streamed": _streamed,
    "session.step.ended": _step_over,
    "session.step.failed": _step_over,
    "session.retry.scheduled": _retry,
    "session.text.started": _text_started,
    "session.text.ended": _text_ended,
    "session.reasoning.started": _reasoning_started,
    "session.reasoning.ended": _reasoning_ended,
    "session.tool.input.started": _tool_input_started,
    "session.tool.input.ended": _tool_input_ended,
    "session.tool.called": _tool_called,
    "session.tool.success": _tool_success,
    "session.tool.failed": _tool_failed,
}
