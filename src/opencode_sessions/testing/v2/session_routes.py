"""The routes of sessions: their lives, their messages, and their logs."""

from __future__ import annotations

from typing import Any

from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.errors import invalid_request, message_not_found
from opencode_sessions.testing.v2.executions import Executions
from opencode_sessions.testing.v2.http import EventStream, Request, Router
from opencode_sessions.testing.v2.reading import check_id, choice, directory_of, optional, page, required
from opencode_sessions.testing.v2.sessions import Sessions

__all__ = ["add_session_routes"]

Json = dict[str, Any]

_MOST_MESSAGES = 200
_EFFECTS = ("allow", "ask", "deny")
_PLANNING = (
    "<system-reminder>\nYou are in Plan mode: discuss the plan, and change no files.\n</system-reminder>"
)


class SessionRoutes:
    """Handlers of what is about sessions."""

    def __init__(self, core: Core, sessions: Sessions, executions: Executions) -> None:
        self._core = core
        self._sessions = sessions
        self._executions = executions

    def create(self, request: Request) -> Json:
        """Create a session, or return the one that has the id."""
        body = request.json()
        location = optional(body, "location", dict) or {}
        session = self._sessions.create(
            session_id=check_id(optional(body, "id", str), "ses", "id"),
            parent_id=check_id(optional(body, "parentID", str), "ses", "parentID"),
            directory=optional(location, "directory", str) or directory_of(request, self._core),
            permissions=_rules(body),
            title=optional(body, "title", str),
            agent=optional(body, "agent", str),
            model=_model(body),
            metadata=optional(body, "metadata", dict),
        )
        return {"data": session}

    def list(self, request: Request) -> Json:
        """One page of the sessions, the newest first."""
        query = request.query
        if "subpath" in query and "project" not in query:
            raise invalid_request("subpath requires project", kind="Query", field="subpath")
        found = [session for session in self._core.database.sessions() if _is_listed(session, query)]
        return page(request, found)

    def active(self, _request: Request) -> Json:
        """The sessions that this process works on."""
        return {"data": {session_id: {"type": "running"} for session_id in self._executions.active}}

    def get(self, request: Request) -> Json:
        """One session."""
        return {"data": self._session(request)}

    def update(self, request: Request) -> None:
        """Change what is given; rules and metadata are replaced."""
        session = self._session(request)
        body = request.json()
        named = {"sessionID": session["id"]}
        title, metadata, rules = optional(body, "title", str), optional(body, "metadata", dict), _rules(body)
        archived = optional(body, "archived", bool)
        if title is not None:
            self._core.bus.log("session.renamed", {**named, "title": title})
        if metadata is not None:
            self._core.bus.log("session.metadata.updated", {**named, "metadata": metadata})
        if rules is not None:
            self._core.bus.log("session.permissions", {**named, "permissions": rules})
        if archived is not None and archived != ("archived" in session["time"]):
            self._core.bus.log("session.archived" if archived else "session.unarchived", named)

    async def remove(self, request: Request) -> None:
        """Delete a session and its children; what runs in them is interrupted."""
        await self._remove(self._session(request)["id"])

    async def _remove(self, session_id: str) -> None:
        for child in self._core.database.children(session_id):
            await self._remove(child)
        self._executions.interrupt(session_id)
        await self._executions.wait_idle(session_id)
        if self._core.database.session(session_id):
            database = self._core.database
            self._core.bus.log(
                "session.deleted",
                {"sessionID": session_id},
                and_then=lambda: database.delete_session(session_id),
            )

    def switch_agent(self, request: Request) -> None:
        """Let another agent answer from the next step on."""
        session = self._session(request)
        agent = required(request.json(), "agent", str)
        data = {"sessionID": session["id"], "agent": agent}
        if session.get("agent"):
            data["previous"] = session["agent"]
        self._core.bus.log("session.agent.selected", data)
        if agent == "plan":
            self._sessions.admit(session["id"], None, {"text": _PLANNING}, "steer", "synthetic")

    def switch_model(self, request: Request) -> None:
        """Ask another model from the next step on."""
        session = self._session(request)
        body = request.json()
        required(body, "model", dict)
        data = {"sessionID": session["id"], "model": _model(body)}
        if session.get("model"):
            data["previous"] = session["model"]
        self._core.bus.log("session.model.selected", data)

    def messages(self, request: Request) -> Json:
        """One page of a session's messages, the newest first."""
        session = self._session(request)
        kind = request.query.get("type")
        messages = self._core.messages(session["id"])
        shown = [message for message in messages if kind in (None, message["type"])]
        return page(request, shown, longest=_MOST_MESSAGES)

    def message(self, request: Request) -> Json:
        """One message of a session."""
        session, message_id = self._session(request), request.params["message"]
        check_id(message_id, "msg", "messageID", kind="Params")
        found = self._core.database.message(message_id)
        if found is None or found[0] != session["id"]:
            raise message_not_found(session["id"], message_id)
        return {"data": found[1]}

    def context(self, request: Request) -> Json:
        """What the model sees of a session."""
        return {"data": self._core.messages(self._session(request)["id"])}

    def log(self, request: Request) -> EventStream:
        """The durable events of a session after a sequence."""
        session = self._session(request)
        after, follow = request.query.get("after", "-1"), request.query.get("follow", "false")
        choice(follow, "follow", ("true", "false"), kind="Query")
        if not after.removeprefix("-").isdecimal():
            raise invalid_request('Expected a number\n  at ["after"]', kind="Query", field="after")
        return EventStream(
            self._core.bus.session_log(session["id"], after=int(after), follow=follow == "true")
        )

    async def wait(self, request: Request) -> None:
        """Answer once nothing runs in a session."""
        await self._executions.wait_idle(self._session(request)["id"])

    def entries(self, request: Request) -> Json:
        """The instruction entries of a session."""
        entries = self._core.database.entries(self._session(request)["id"])
        return {"data": [{"key": key, "value": value} for key, value in entries.items()]}

    def put_entry(self, request: Request) -> None:
        """Attach an instruction entry; the model is told at its next step."""
        session, body = self._session(request), request.json()
        if "value" not in body:
            raise invalid_request('Missing key\n  at ["value"]', kind="Payload", field="value")
        self._core.database.put_entry(session["id"], request.params["key"], body["value"])

    def delete_entry(self, request: Request) -> None:
        """Detach an instruction entry."""
        self._core.database.delete_entry(self._session(request)["id"], request.params["key"])

    def environment(self, request: Request) -> None:
        """Set what shell commands of a session see in their environment."""
        session = self._session(request)
        self._core.environments[session["id"]] = dict(required(request.json(), "variables", dict))

    def _session(self, request: Request) -> Json:
        session_id = request.params["session"]
        check_id(session_id, "ses", "sessionID", kind="Params")
        return self._core.session(session_id)


def _is_listed(session: Json, query: Any) -> bool:
    parent = query.get("parentID")
    wanted = {
        "directory": session["location"]["directory"],
        "project": session["projectID"],
        "subpath": session.get("subpath"),
        "archived": "true" if "archived" in session["time"] else "false",
    }
    return (
        all(value == query.get(name, value) for name, value in wanted.items())
        and query.get("search", "").lower() in session.get("title", "").lower()
        and (parent is None or session.get("parentID", "null") == parent)
    )


def _rules(body: Json) -> list[Json] | None:
    rules = optional(body, "permissions", list)
    for rule in rules or ():
        fields = rule if isinstance(rule, dict) else {}
        required(fields, "action", str)
        required(fields, "resource", str)
        choice(required(fields, "effect", str), "effect", _EFFECTS)
    return (
        None
        if rules is None
        else [{name: rule[name] for name in ("action", "resource", "effect")} for rule in rules]
    )


def _model(body: Json) -> Json | None:
    model = optional(body, "model", dict)
    if model is None:
        return None
    chosen = {"id": required(model, "id", str), "providerID": required(model, "providerID", str)}
    variant = optional(model, "variant", str)
    return chosen if variant is None else {**chosen, "variant": variant}


def add_session_routes(router: Router, routes: SessionRoutes) -> None:
    """Route what is about sessions."""
    router.add("POST", "/api/session", routes.create)
    router.add("GET", "/api/session", routes.list)
    router.add("GET", "/api/session/active", routes.active)
    one = "/api/session/{session}"
    router.add("GET", one, routes.get)
    router.add("PATCH", one, routes.update)
    router.add("DELETE", one, routes.remove)
    router.add("POST", f"{one}/agent", routes.switch_agent)
    router.add("POST", f"{one}/model", routes.switch_model)
    router.add("GET", f"{one}/message", routes.messages)
    router.add("GET", f"{one}/message/{{message}}", routes.message)
    router.add("GET", f"{one}/context", routes.context)
    router.add("PUT", f"{one}/environment", routes.environment)
    experimental = "/api/experimental/session/{session}"
    router.add("GET", f"{experimental}/log", routes.log)
    router.add("POST", f"{experimental}/wait", routes.wait)
    entries = f"{experimental}/instructions/entries"
    router.add("GET", entries, routes.entries)
    router.add("PUT", f"{entries}/{{key}}", routes.put_entry)
    router.add("DELETE", f"{entries}/{{key}}", routes.delete_entry)
