"""What follows from events that rearrange a session's history: forks, reverts and compactions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from opencode_sessions.testing.v2.database import NO_TOKENS, Database
from opencode_sessions.testing.v2.ids import message_id_of

__all__ = ["CHANGES"]

Json = dict[str, Any]


def _forked(database: Database, event: Json, data: Json) -> None:
    parent, boundary = database.session(data["parentID"]) or {}, data["boundary"]
    title = {"title": _fork_title(parent["title"])} if "title" in parent else {}
    kept = ("projectID", "location", "agent", "model", "subpath", "metadata")
    database.put_session(
        {
            "id": data["sessionID"],
            "fork": {"sessionID": parent["id"], "boundary": boundary},
            "cost": 0,
            "tokens": NO_TOKENS,
            "time": {"created": event["created"], "updated": event["created"]},
            **{name: parent[name] for name in kept if name in parent},
            **title,
        }
    )
    for number, message in enumerate(database.messages(parent["id"])):
        at_boundary = message["id"] == boundary["messageID"]
        if at_boundary and boundary["type"] == "before":
            return
        if message["type"] != "assistant" or "completed" in message["time"]:
            copy = {**message, "id": f"{message_id_of(event)}_{number}"}
            database.put_message(data["sessionID"], copy)
        if at_boundary:
            return


def _fork_title(title: str) -> str:
    found = re.fullmatch(r"(.+) \(fork #(\d+)\)", title)
    return f"{found[1]} (fork #{int(found[2]) + 1})" if found else f"{title} (fork #1)"


def _revert_over(database: Database, event: Json, data: Json) -> None:
    if "to" in data:
        database.delete_messages_from(data["sessionID"], data["to"])
    session = database.session(data["sessionID"])
    if session:
        session.pop("revert", None)
        session["time"]["updated"] = event["created"]
        database.put_session(session)


def _compaction_started(database: Database, event: Json, data: Json) -> None:
    message = {
        "id": message_id_of(event),
        "type": "compaction",
        "time": {"created": event["created"]},
        "status": "running",
        "reason": data["reason"],
        "summary": "",
    }
    database.put_message(data["sessionID"], message)


def _compaction_over(database: Database, event: Json, data: Json) -> None:
    for message in reversed(database.messages(data["sessionID"])):
        if message["type"] == "compaction" and message["status"] == "running":
            told: Json = {name: data[name] for name in ("cost", "tokens", "model", "error") if name in data}
            if event["type"] == "session.compaction.ended":
                message |= {"status": "completed", "summary": data["text"], **told}
            else:
                del message["summary"]
                message |= {"status": "failed", **told}
            database.put_message(data["sessionID"], message)
            return


CHANGES: dict[str, Callable[[Database, Json, Json], None]] = {
    "session.forked": _forked,
    "session.revert.cleared": _revert_over,
    "session.revert.committed": _revert_over,
    "session.compaction.started": _compaction_started,
    "session.compaction.ended": _compaction_over,
    "session.compaction.failed": _compaction_over,
}
