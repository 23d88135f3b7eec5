"""Forks, moves and reverts: a copy of a session's beginning, another directory, or the removal of its end."""

from __future__ import annotations

from typing import Any

from opencode_sessions.testing.v2.core import Core, project_of
from opencode_sessions.testing.v2.errors import invalid_request, message_not_found, session_busy
from opencode_sessions.testing.v2.executions import Executions
from opencode_sessions.testing.v2.http import Request, Router
from opencode_sessions.testing.v2.ids import new_id
from opencode_sessions.testing.v2.reading import check_id, optional, required

__all__ = ["BranchRoutes", "add_branch_routes"]

Json = dict[str, Any]


class BranchRoutes:
    """Handlers of forks, moves and reverts."""

    def __init__(self, core: Core, executions: Executions) -> None:
        self._core = core
        self._executions = executions

    def fork(self, request: Request) -> Json:
        """Copy what was said before a message, or all of it, into a new session, without the rules."""
        source = self._session(request)["id"]
        before = check_id(optional(request.json(), "before", str), "msg", "before")
        if before is not None:
            self._check_message(source, before)
            boundary = {"type": "before", "messageID": before}
        elif messages := self._core.database.messages(source):
            boundary = {"type": "through", "messageID": messages[-1]["id"]}
        else:
            raise invalid_request(f"Session has no messages: {source}", kind="Params")
        copy = new_id("ses")
        self._core.bus.log("session.forked", {"sessionID": copy, "parentID": source, "boundary": boundary})
        return {"data": self._core.session(copy)}

    def move(self, request: Request) -> None:
        """Let a session work in another directory from now on."""
        session_id, directory = self._session(request)["id"], required(request.json(), "directory", str)
        project, _ = project_of(directory)
        moved = {"sessionID": session_id, "location": {"directory": directory}, "projectID": project}
        self._core.bus.log("session.moved", moved)

    def stage(self, request: Request) -> Json:
        """Hide a message and what came after it. The next prompt makes that last."""
        session_id = self._idle(request)["id"]
        message_id = required(request.json(), "messageID", str)
        self._check_message(session_id, message_id)
        revert: Json = {"messageID": message_id, "files": []}
        self._core.bus.log("session.revert.staged", {"sessionID": session_id, "revert": revert})
        return {"data": revert}

    def clear(self, request: Request) -> None:
        """Show what was hidden."""
        session = self._idle(request)
        if "revert" in session:
            self._core.bus.log("session.revert.cleared", {"sessionID": session["id"]})

    def commit(self, request: Request) -> None:
        """Delete what was hidden."""
        self._core.commit_revert(self._idle(request))

    def _session(self, request: Request) -> Json:
        session_id = request.params["session"]
        check_id(session_id, "ses", "sessionID", kind="Params")
        return self._core.session(session_id)

    def _idle(self, request: Request) -> Json:
        session = self._session(request)
        if session["id"] in self._executions.active:
            raise session_busy(session["id"])
        return session

    def _check_message(self, session_id: str, message_id: str) -> None:
        found = self._core.database.message(message_id)
        if found is None or found[0] != session_id:
            raise message_not_found(session_id, message_id)


def add_branch_routes(router: Router, routes: BranchRoutes) -> None:
    """Route forks, moves and reverts."""
    one = "/api/session/{session}"
    router.add("POST", f"{one}/fork", routes.fork)
    router.add("POST", f"{one}/move", routes.move)
    router.add("POST", f"{one}/revert/stage", routes.stage)
    router.add("DELETE", f"{one}/revert", routes.clear)
    router.add("POST", f"{one}/revert/commit", routes.commit)
