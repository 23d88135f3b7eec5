"""Sessions and their inboxes: what is created and admitted once by its id, however often it is asked for."""

from __future__ import annotations

import os
from typing import Any

from opencode_sessions.testing.v2.core import VERSION, Core, project_of
from opencode_sessions.testing.v2.errors import conflict
from opencode_sessions.testing.v2.ids import new_id

__all__ = ["Sessions"]

Json = dict[str, Any]


class Sessions:
    """All sessions of the server."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(
        self,
        *,
        session_id: str | None = None,
        directory: str | None = None,
        parent_id: str | None = None,
        permissions: list[Json] | None = None,
        **fields: Any,
    ) -> Json:
        """Create a session, or return the one that has the id.

        A child is in its parent's directory and has its parent's rules, followed by its own.

        Args:
            session_id: Its id; a new one when None.
            directory: Where it works.
            parent_id: The session that starts it.
            permissions: Its rules.
            fields: `title`, `agent`, `model` and `metadata`, as far as they are given.

        Raises:
            ApiError: There is no such parent.
        """
        known = self._core.database.session(session_id) if session_id else None
        if known:
            return known
        if parent_id:
            parent = self._core.session(parent_id)
            directory = parent["location"]["directory"]
            permissions = [*parent.get("permissions", []), *(permissions or [])] or None
        directory = directory or self._core.directory
        project, folder = project_of(directory)
        session_id = session_id or new_id("ses")
        given = {"parentID": parent_id, "permissions": permissions, **fields}
        self._core.bus.log(
            "session.created",
            {
                "sessionID": session_id,
                "slug": f"session-{session_id[-6:].lower()}",
                "version": VERSION,
                "projectID": project,
                "location": {"directory": directory},
                "subpath": os.path.relpath(os.path.realpath(directory), folder),
                **{name: value for name, value in given.items() if value is not None},
            },
        )
        return self._core.session(session_id)

    def admit(
        self, session_id: str, item_id: str | None, payload: Json, delivery: str, kind: str = "user"
    ) -> Json:
        """Put an item into the inbox. One that was admitted before is returned as it is, also after its delivery.

        Raises:
            ApiError: Another session has the id, or it belongs to something else.
        """
        item_id = item_id or new_id("msg")
        known = self._known(session_id, item_id, delivery)
        if known:
            if known["sessionID"] != session_id or known["type"] != kind:
                raise self._conflict(session_id, item_id)
            return known
        self._core.commit_revert(self._core.session(session_id))
        item = {"type": kind, "payload": payload, "delivery": delivery}
        self._core.bus.log(
            "session.inbox.enqueued", {"inboxID": item_id, "sessionID": session_id, "item": item}
        )
        return self._known(session_id, item_id, delivery) or {}

    def _known(self, session_id: str, item_id: str, delivery: str) -> Json | None:
        item = self._core.database.inbox_item(item_id)
        if item:
            return item
        delivered = self._core.database.message(item_id)
        if delivered is None:
            return None
        owner, message = delivered
        if message["type"] not in ("user", "synthetic"):
            raise self._conflict(session_id, item_id)
        names = ("text", "files", "agents", "skills", "description", "metadata")
        return {
            "id": item_id,
            "sessionID": owner,
            "time": message["time"],
            "type": message["type"],
            "payload": {name: message[name] for name in names if name in message},
            "delivery": delivery,
        }

    def _conflict(self, session_id: str, item_id: str) -> Exception:
        return conflict(f"Prompt conflicts with an existing message: {item_id}", resource=session_id)
