"""Permission requests: what is allowed, what is asked, and who is answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opencode_sessions.testing.v2.core import Core, project_of
from opencode_sessions.testing.v2.errors import permission_not_found
from opencode_sessions.testing.v2.ids import new_id, now
from opencode_sessions.testing.v2.rules import Ruleset, decide

__all__ = ["BlockedError", "CorrectedError", "DeclinedError", "Permissions"]

Json = dict[str, Any]


class BlockedError(Exception):
    """A rule denies it."""


class DeclinedError(Exception):
    """A person refused without a word, so the execution ends."""


class CorrectedError(Exception):
    """A person refused and said why, so the agent goes on."""


@dataclass(frozen=True, slots=True)
class _Pending:
    request: Json
    agent: str
    answer: asyncio.Future[None]


class Permissions:
    """All requests of the server. Pending ones live in memory: a server that dies forgets them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pending: dict[str, _Pending] = {}

    async def check(
        self,
        session_id: str,
        agent: str,
        action: str,
        resources: list[str],
        *,
        save: list[str] | None = None,
        metadata: Json | None = None,
        source: Json | None = None,
    ) -> None:
        """Return if the action is allowed, by a rule or by a person.

        Raises:
            BlockedError: A rule denies it.
            DeclinedError: A person refused it.
            CorrectedError: A person refused it and said why.
        """
        effect = self._effect(session_id, agent, action, resources)
        if effect == "deny":
            raise BlockedError(f"Permission denied: {action}")
        if effect == "allow":
            return
        request: Json = {
            "id": new_id("per"),
            "sessionID": session_id,
            "action": action,
            "resources": resources,
        }
        optional = {"save": save, "metadata": metadata, "source": source}
        request.update({name: value for name, value in optional.items() if value is not None})
        pending = _Pending(request, agent, asyncio.get_running_loop().create_future())
        self._pending[request["id"]] = pending
        self._core.tell(session_id, "permission.asked", request)
        try:
            await pending.answer
        finally:
            self._pending.pop(request["id"], None)

    def pending(self, *, session_id: str | None = None, directory: str | None = None) -> list[Json]:
        """The pending requests of a session, of a directory, or of all."""
        return [
            pending.request
            for pending in self._pending.values()
            if session_id in (None, pending.request["sessionID"])
            and (directory is None or self._directory_of(pending.request["sessionID"]) == directory)
        ]

    def get(self, session_id: str, request_id: str) -> Json:
        """A pending request of a session.

        Raises:
            ApiError: There is no such request.
        """
        return self._find(session_id, request_id).request

    def reply(self, session_id: str, request_id: str, decision: str, message: str | None) -> None:
        """Answer a request. A refusal also refuses what else the session asks for.

        Raises:
            ApiError: There is no such request.
        """
        found = self._find(session_id, request_id)
        if decision == "reject":
            self._settle(found, "reject", CorrectedError(message) if message else DeclinedError())
            for other in self._of_session(session_id):
                self._settle(other, "reject", DeclinedError())
            return
        save = found.request.get("save")
        if decision == "always" and save:
            project, _ = project_of(self._directory_of(session_id))
            for resource in save:
                self._core.database.save_permission(
                    new_id("psv"), project, found.request["action"], resource, now()
                )
        self._settle(found, decision, None)
        if decision == "always" and save:
            for other in list(self._pending.values()):
                asked = other.request
                if (
                    self._effect(asked["sessionID"], other.agent, asked["action"], asked["resources"])
                    == "allow"
                ):
                    self._settle(other, "always", None)

    def rules(self, session_id: str, agent: str) -> Ruleset:
        """The rules of an agent in a session, without the saved permissions."""
        session = self._core.database.session(session_id) or {}
        return self._core.rules_of(session, agent)

    def _effect(self, session_id: str, agent: str, action: str, resources: list[str]) -> str:
        directory = self._directory_of(session_id)
        project, _ = project_of(directory)
        rules = self.rules(session_id, agent)
        saved = [
            {"action": one["action"], "resource": one["resource"], "effect": "allow"}
            for one in self._core.database.saved(project)
        ]

        def effects(among: Ruleset) -> list[str]:
            return [
                decide(action, resource, among, absolute=_absolute(action, resource, directory))
                for resource in resources
            ]

        # A rule that denies is final: no saved permission overrides it.
        if "deny" in effects(rules):
            return "deny"
        return "ask" if "ask" in effects([*rules, *saved]) else "allow"

    def _find(self, session_id: str, request_id: str) -> _Pending:
        found = self._pending.get(request_id)
        if found is None or found.request["sessionID"] != session_id:
            raise permission_not_found(request_id)
        return found

    def _of_session(self, session_id: str) -> list[_Pending]:
        return [pending for pending in self._pending.values() if pending.request["sessionID"] == session_id]

    def _settle(self, pending: _Pending, reply: str, refusal: Exception | None) -> None:
        session_id, request_id = pending.request["sessionID"], pending.request["id"]
        self._pending.pop(request_id, None)
        data = {"sessionID": session_id, "requestID": request_id, "reply": reply}
        self._core.tell(session_id, "permission.replied", data)
        if pending.answer.done():
            return
        if refusal is None:
            pending.answer.set_result(None)
        else:
            pending.answer.set_exception(refusal)

    def _directory_of(self, session_id: str) -> str:
        session = self._core.database.session(session_id)
        return str(session["location"]["directory"]) if session else self._core.directory


def _absolute(action: str, resource: str, directory: str) -> str | None:
    if action in ("read", "edit") and not Path(resource).is_absolute():
        return str(Path(directory) / resource)
    return None
