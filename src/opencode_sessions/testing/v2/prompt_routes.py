"""The routes of what goes into a session while it lives: prompts, interruptions, answers to what it asks."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.errors import conflict, invalid_request, saved_not_found
from opencode_sessions.testing.v2.executions import Executions
from opencode_sessions.testing.v2.forms import Forms
from opencode_sessions.testing.v2.http import Request, Router
from opencode_sessions.testing.v2.ids import now
from opencode_sessions.testing.v2.permissions import Permissions
from opencode_sessions.testing.v2.reading import check_id, choice, directory_of, located, optional, required
from opencode_sessions.testing.v2.sessions import Sessions

__all__ = ["PromptRoutes", "add_prompt_routes"]

Json = dict[str, Any]

_DELIVERIES = ("steer", "queue")
_DECISIONS = ("once", "always", "reject")


class PromptRoutes:
    """Handlers of prompts and asks."""

    def __init__(
        self, core: Core, sessions: Sessions, executions: Executions, permissions: Permissions, forms: Forms
    ) -> None:
        self._core = core
        self._sessions = sessions
        self._executions = executions
        self._permissions = permissions
        self._forms = forms

    # Prompts

    def prompt(self, request: Request) -> Json:
        """Admit a prompt, once by its id, and have it worked off unless `resume` is false."""
        session_id, body = self._session_id(request), request.json()
        payload: Json = {"text": required(body, "text", str)}
        files = optional(body, "files", list)
        if files:
            payload["files"] = [_attached(file) for file in files]
        for name in ("agents", "skills"):
            if optional(body, name, list):
                payload[name] = body[name]
        return self._admit(session_id, body, payload, "user")

    def synthetic(self, request: Request) -> Json:
        """Admit a message that the user did not write."""
        session_id, body = self._session_id(request), request.json()
        payload: Json = {"text": required(body, "text", str)}
        if optional(body, "description", str) is not None:
            payload["description"] = body["description"]
        return self._admit(session_id, body, payload, "synthetic")

    def _admit(self, session_id: str, body: Json, payload: Json, kind: str) -> Json:
        if optional(body, "metadata", dict) is not None:
            payload["metadata"] = body["metadata"]
        item_id = check_id(optional(body, "id", str), "msg", "id")
        delivery = choice(optional(body, "delivery", str), "delivery", _DELIVERIES) or "steer"
        resume = optional(body, "resume", bool)
        item = self._sessions.admit(session_id, item_id, payload, delivery, kind)
        if resume is not False:
            self._executions.wake(session_id)
        return {"data": item}

    def inbox(self, request: Request) -> Json:
        """What is admitted and not yet delivered."""
        return {"data": self._core.database.inbox(self._session_id(request))}

    def cancel(self, request: Request) -> None:
        """Take an item out of the inbox. Nothing happens if it is not there."""
        session_id, item_id = self._session_id(request), request.params["item"]
        item = self._core.database.inbox_item(item_id)
        if item and item["sessionID"] == session_id:
            self._core.bus.log("session.inbox.cancelled", {"sessionID": session_id, "inboxID": item_id})

    def deliver_as(self, request: Request) -> None:
        """Change how an item of the inbox is delivered."""
        session_id, item_id = self._session_id(request), request.params["item"]
        delivery = choice(required(request.json(), "delivery", str), "delivery", _DELIVERIES)
        item = self._core.database.inbox_item(item_id)
        if item is None or item["sessionID"] != session_id or item["delivery"] == delivery:
            raise conflict(f"Inbox item is not available: {item_id}", resource=item_id)
        data = {"sessionID": session_id, "inboxID": item_id, "delivery": delivery}
        self._core.bus.log("session.inbox.delivery.changed", data)
        if delivery == "steer":
            self._executions.wake(session_id)

    def interrupt(self, request: Request) -> Json:
        """Stop what runs. With `resume`, steers that wait are worked off then; queued prompts stay where they are."""
        session_id = self._session_id(request)
        resume = choice(request.query.get("resume"), "resume", ("true", "false"), kind="Query") == "true"
        interrupted = self._executions.interrupt(session_id)
        if resume and self._core.database.inbox(session_id, "steer"):
            self._executions.wake(session_id, "steer")
        return {"interrupted": interrupted}

    # Permissions

    def permissions(self, request: Request) -> Json:
        """The pending permission requests of a session."""
        return {"data": self._permissions.pending(session_id=self._session_id(request))}

    def permissions_here(self, request: Request) -> Json:
        """The pending permission requests of a directory."""
        directory = directory_of(request, self._core)
        return located(directory, self._permissions.pending(directory=directory))

    def permission(self, request: Request) -> Json:
        """One pending permission request."""
        return {"data": self._permissions.get(self._session_id(request), request.params["request"])}

    def reply_permission(self, request: Request) -> None:
        """Answer a permission request."""
        body = request.json()
        decision = choice(required(body, "decision", str), "decision", _DECISIONS)
        message = optional(body, "message", str)
        self._permissions.reply(self._session_id(request), request.params["request"], decision, message)

    def saved(self, request: Request) -> Json:
        """The saved permissions."""
        return {"data": self._core.database.saved(request.query.get("projectID"))}

    def change_saved(self, request: Request) -> Json:
        """Change what a saved permission is for."""
        saved_id = request.params["saved"]
        resource = required(request.json(), "resource", str)
        if not self._core.database.change_saved(saved_id, resource, now()):
            raise saved_not_found(saved_id)
        return {"data": next(one for one in self._core.database.saved() if one["id"] == saved_id)}

    def forget_saved(self, request: Request) -> None:
        """Forget a saved permission."""
        if not self._core.database.forget_saved(request.params["saved"]):
            raise saved_not_found(request.params["saved"])

    # Forms

    def forms(self, request: Request) -> Json:
        """The pending forms of a session."""
        return {"data": self._forms.pending(session_id=self._session_id(request))}

    def forms_here(self, request: Request) -> Json:
        """The pending forms of a directory."""
        directory = directory_of(request, self._core)
        return located(directory, self._forms.pending(directory=directory))

    def create_form(self, request: Request) -> Json:
        """Show a form, as an MCP server does."""
        session_id, body = self._session_id(request), request.json()
        info = self._forms.create(
            session_id,
            form_id=check_id(optional(body, "id", str), "frm", "id"),
            title=required(body, "title", str),
            fields=required(body, "fields", list),
            metadata=optional(body, "metadata", dict),
        )
        return {"data": info}

    def form(self, request: Request) -> Json:
        """One form with its state."""
        return {"data": self._forms.detail(self._session_id(request), request.params["form"])}

    def reply_form(self, request: Request) -> None:
        """Answer a form."""
        answer = required(request.json(), "answer", dict)
        self._forms.reply(self._session_id(request), request.params["form"], answer)

    def cancel_form(self, request: Request) -> None:
        """Refuse to answer a form; with a message, the agent goes on."""
        self._forms.cancel(self._session_id(request), request.params["form"], request.query.get("message"))

    def _session_id(self, request: Request) -> str:
        session_id = request.params["session"]
        check_id(session_id, "ses", "sessionID", kind="Params")
        return str(self._core.session(session_id)["id"])


def _attached(file: Any) -> Json:
    """A file of a prompt, with its content."""
    fields = file if isinstance(file, dict) else {}
    uri = required(fields, "uri", str)
    named = {
        name: fields[name] for name in ("name", "description", "mention") if fields.get(name) is not None
    }
    if uri.startswith("data:"):
        head, _, data = uri.removeprefix("data:").partition(",")
        encoded = data if head.endswith(";base64") else base64.b64encode(unquote(data).encode()).decode()
        mime = head.removesuffix(";base64").partition(";")[0] or "text/plain"
        return {"data": encoded, "mime": mime, "source": {"type": "inline"}, **named}
    path = Path(unquote(urlsplit(uri).path))
    if not uri.startswith("file:") or not path.is_file():
        raise invalid_request(f"Unable to read attachment: {uri}", kind="Payload", field="files")
    content = base64.b64encode(path.read_bytes()).decode()
    mime = mimetypes.guess_type(path)[0] or "text/plain"
    return {"data": content, "mime": mime, "source": {"type": "uri", "uri": uri}, **named}


def add_prompt_routes(router: Router, routes: PromptRoutes) -> None:
    """Route prompts and asks."""
    one = "/api/session/{session}"
    router.add("POST", f"{one}/prompt", routes.prompt)
    router.add("POST", f"{one}/synthetic", routes.synthetic)
    router.add("GET", f"{one}/inbox", routes.inbox)
    router.add("DELETE", f"{one}/inbox/{{item}}", routes.cancel)
    router.add("PATCH", f"{one}/inbox/{{item}}", routes.deliver_as)
    router.add("POST", f"{one}/interrupt", routes.interrupt)
    router.add("GET", f"{one}/permission", routes.permissions)
    router.add("GET", f"{one}/permission/{{request}}", routes.permission)
    router.add("POST", f"{one}/permission/{{request}}/reply", routes.reply_permission)
    router.add("GET", "/api/permission/request", routes.permissions_here)
    router.add("GET", "/api/permission/saved", routes.saved)
    router.add("PATCH", "/api/permission/saved/{saved}", routes.change_saved)
    router.add("DELETE", "/api/permission/saved/{saved}", routes.forget_saved)
    router.add("GET", f"{one}/form", routes.forms)
    router.add("POST", f"{one}/form", routes.create_form)
    router.add("GET", f"{one}/form/{{form}}", routes.form)
    router.add("POST", f"{one}/form/{{form}}/reply", routes.reply_form)
    router.add("DELETE", f"{one}/form/{{form}}", routes.cancel_form)
    router.add("GET", "/api/form", routes.forms_here)
