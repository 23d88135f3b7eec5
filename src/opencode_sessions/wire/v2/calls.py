"""The dialect of the V2 line: its requests, and how its responses are read.

- A session is created in one request, under the caller's id, with its title, rules and metadata. The first request
  wins.
- A prompt is stored once, under the caller's id, before it is answered. It has no agent, model or system prompt. Those
  belong to the session, and are set before the prompt.
- New rules and metadata replace the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.events import PermissionAsked, QuestionAsked, SessionStatus
from opencode_sessions.protocol.permissions import Rule
from opencode_sessions.protocol.values import Health, Message, SessionInfo
from opencode_sessions.wire import alike
from opencode_sessions.wire.alike import location, on_session, without_none
from opencode_sessions.wire.dialect import Call, Json
from opencode_sessions.wire.http import Request
from opencode_sessions.wire.v2 import responses
from opencode_sessions.wire.v2.frames import Reader
from opencode_sessions.wire.v2.names import rules_to_json

list_files, read_file = alike.list_files, alike.read_file

_HEALTH = 10.0
"""Seconds that a server has to answer a health request."""

_LARGEST_PAGE = 200

_SYSTEM = "opencode-sessions"
"""The key of the instruction entry that holds the system prompt of the newest turn."""

_REFUSED = "This form cannot be filled in here."


def health() -> Call[Health | None]:
    """The server answers `{version, pid, …}`. The timeout is short, so that a server that hangs is noticed."""
    return Call(Request("GET", "/api/info", repeatable=True, within=_HEALTH), responses.parse_health)


def config(directory: str | None) -> None:
    """None: the server does not show a directory's configuration."""


def file(directory: str, path: str) -> None:
    """None, as for `config`."""


def listing(directory: str) -> None:
    """None: the server refuses a prompt in a directory that it cannot open, so there is no need to check."""


def dispose(directory: str) -> None:
    """None, as for `listing`."""


def events() -> Request:
    """The events of all directories."""
    return Request("GET", "/api/event")


def probe(*, directory: str | None) -> None:
    """None: once a stream says that it is connected, it misses no event."""


def reader() -> Reader:
    """The reader remembers the prompts and tool calls that are under way."""
    return Reader()


def thread() -> responses.Thread:
    """An assistant's message does not name the prompt that it answers; the order of the messages shows it."""
    return responses.Thread()


def create(
    session_id: str,
    *,
    directory: str | None,
    title: str | None,
    rules: Sequence[Rule],
    metadata: Json | None,
) -> list[Call[SessionInfo]]:
    """One request, so the rules hold from the first moment."""
    body = _new(session_id, directory=directory, title=title, rules=rules, metadata=metadata)
    request = Request("POST", "/api/session", json=body, repeatable=True, creation=True)
    return [Call(request, responses.parse_session)]


def create_unnamed(
    *,
    directory: str | None,
    title: str | None,
    rules: Sequence[Rule],
    metadata: Json | None,
    parent_id: str | None,
) -> Call[SessionInfo]:
    """One request, with title, rules and metadata."""
    body = _new(None, directory=directory, title=title, rules=rules, metadata=metadata)
    request = Request("POST", "/api/session", json=body | without_none(parentID=parent_id), creation=True)
    return Call(request, responses.parse_session)


def get(session_id: str) -> Call[SessionInfo]:
    """The server answers 404 if there is no such session."""
    return Call(_on(session_id, "GET", "", repeatable=True), responses.parse_session)


def update(
    session_id: str, *, title: str | None, rules: Iterable[Rule] | None, metadata: Json | None
) -> list[Call[Any]]:
    """The server answers 204 without a body, so a second request reads the session."""
    permissions = None if rules is None else rules_to_json(rules)
    body = without_none(title=title, metadata=metadata, permissions=permissions)
    return [Call(_on(session_id, "PATCH", "", json=body, repeatable=True)), get(session_id)]


def delete(session_id: str) -> Call[Any]:
    """The server deletes the session's children, too."""
    return Call(_on(session_id, "DELETE", "", repeatable=True))


def abort(session_id: str) -> Call[Any]:
    """Stops what runs. Prompts in the inbox stay there; see `withdraw`."""
    return Call(_on(session_id, "POST", "/interrupt", repeatable=True))


def waiting(session_id: str) -> Call[frozenset[str]]:
    """The ids of the entries in the session's inbox."""
    request = _on(session_id, "GET", "/inbox", repeatable=True)
    return Call(request, lambda body: frozenset(item["id"] for item in body["data"]))


def withdraw(session_id: str, message_id: str) -> Call[Any]:
    """Removes a prompt from the inbox. A prompt that is not there is no error."""
    path = f"/inbox/{quote(message_id, safe='')}"
    return Call(_on(session_id, "DELETE", path, repeatable=True))


def sessions(
    *, directory: str | None, search: str | None, limit: int, cursor: str | None
) -> Call[list[SessionInfo]]:
    """Sessions, newest first."""
    params = without_none(directory=directory, search=search, cursor=cursor) | {"limit": str(limit)}
    request = Request("GET", "/api/session", params, repeatable=True)
    return Call(request, responses.parse_sessions, responses.next_page)


def children(session_id: str) -> Call[list[SessionInfo]]:
    """The newest sessions of sub-agents."""
    params = {"parentID": session_id, "limit": str(_LARGEST_PAGE)}
    return Call(Request("GET", "/api/session", params, repeatable=True), responses.parse_sessions)


def statuses(*, directory: str | None) -> Call[dict[str, SessionStatus]]:  # noqa: ARG001 - likewise
    """The sessions that this process of the server runs, in all directories."""
    return Call(_active(), responses.parse_active)


def busy(*, directory: str | None) -> Call[frozenset[str]]:  # noqa: ARG001 - likewise
    """The ids of the sessions that this process of the server runs, in all directories."""
    return Call(_active(), responses.parse_busy)


def messages(session_id: str, *, limit: int, cursor: str | None) -> Call[list[Message]]:
    """The `limit` newest before the cursor, newest first."""
    params = {"limit": str(min(limit, _LARGEST_PAGE))} | without_none(cursor=cursor)
    request = _on(session_id, "GET", "/message", params=params, repeatable=True)
    return Call(request, responses.messages_of(session_id), responses.next_page)


def message(session_id: str, message_id: str) -> Call[Message]:
    """The server answers 404 if the prompt has not been delivered."""
    request = _on(session_id, "GET", f"/message/{quote(message_id, safe='')}", repeatable=True)
    return Call(request, responses.message_of(session_id))


def todos(session_id: str) -> None:
    """None: agents have no list of todos on this line."""


def prompt(
    session_id: str,
    *,
    message_id: str,
    parts: Iterable[Json],
    agent: str | None,
    model: str | None,
    system: str | None,
    variant: str | None,
    schema: Json | None,
) -> list[Call[Any]]:
    """Requests that set the session's agent, model and system prompt, then the prompt.

    Raises:
        ConfigurationError: A schema was given, or a variant without a model.
    """
    if schema is not None:
        raise ConfigurationError(
            "an OpenCode 2.x server has no structured answers: ask for JSON in the prompt, or use a server of the 1.x "
            "line"
        )
    if variant is not None and model is None:
        raise ConfigurationError(
            "an OpenCode 2.x server takes a variant only together with a model: give model='provider/model', too"
        )
    calls = [_instructions(session_id, system)]
    if agent is not None:
        calls.append(Call(_on(session_id, "POST", "/agent", json={"agent": agent}, repeatable=True)))
    if model is not None:
        provider, _, name = model.partition("/")
        chosen = {"id": name, "providerID": provider} | without_none(variant=variant)
        calls.append(Call(_on(session_id, "POST", "/model", json={"model": chosen}, repeatable=True)))
    given = [dict(part) for part in parts]
    files = [
        {"uri": part["url"]} | without_none(name=part.get("filename"))
        for part in given
        if part.get("type") == "file"
    ]
    said = "\n\n".join(part["text"] for part in given if part.get("type") == "text")
    body = {"id": message_id, "text": said} | ({"files": files} if files else {})
    return [*calls, Call(_on(session_id, "POST", "/prompt", json=body, repeatable=True))]


def permissions(*, directory: str | None) -> Call[list[PermissionAsked]]:
    """The pending permission requests of one directory."""
    request = Request("GET", "/api/permission/request", location(directory), repeatable=True)
    return Call(request, responses.parse_permissions)


def answer_permission(
    session_id: str,
    request_id: str,
    reply: str,
    *,
    message: str | None,
    directory: str | None,  # noqa: ARG001 - likewise
) -> Call[Any]:
    """The server stores `always` on disk, for the whole project."""
    path = f"/permission/{quote(request_id, safe='')}/reply"
    return Call(_on(session_id, "POST", path, json={"decision": reply} | without_none(message=message)))


def questions(*, directory: str | None) -> Call[list[QuestionAsked]]:
    """The pending forms of one directory."""
    return Call(Request("GET", "/api/form", location(directory), repeatable=True), responses.parse_forms)


def form(session_id: str, request_id: str) -> Call[Json]:
    """The form of a question: the answer must name its fields."""
    request = _on(session_id, "GET", f"/form/{quote(request_id, safe='')}", repeatable=True)
    return Call(request, lambda body: body["data"])


def answer_question(
    session_id: str | None,
    request_id: str,
    answers: Iterable[Iterable[str]],
    *,
    form: Json | None,
    directory: str | None,  # noqa: ARG001 - likewise
) -> Call[Any]:
    """The answer has one value, or a list of values, for each field.

    Raises:
        ConfigurationError: `session_id` is None.
    """
    if form is None:
        raise _unknown_session(request_id)
    body = {"answer": responses.answers_to(form, answers)}
    return Call(_on(session_id, "POST", f"/form/{quote(request_id, safe='')}/reply", json=body))


def reject_question(
    session_id: str | None,
    request_id: str,
    *,
    directory: str | None,  # noqa: ARG001 - likewise
) -> Call[Any]:
    """Cancels the form: the agent is told that it gets no answer.

    Raises:
        ConfigurationError: `session_id` is None.
    """
    if session_id is None:
        raise _unknown_session(request_id)
    path = f"/form/{quote(request_id, safe='')}"
    return Call(_on(session_id, "DELETE", path, json={"message": _REFUSED}))


def fork(session_id: str, message_id: str | None) -> Call[SessionInfo]:
    """Copies the messages before one, or all of them, to a new session."""
    request = _on(session_id, "POST", "/fork", json=without_none(before=message_id))
    return Call(request, responses.parse_session)


def move(session_id: str, directory: str) -> Call[Any]:
    """The session works in another directory from now on."""
    return Call(_on(session_id, "POST", "/move", json={"directory": directory}, repeatable=True))


def revert(session_id: str, message_id: str, part_id: str | None) -> list[Call[Any]]:
    """The server answers 409 while the session is busy.

    Raises:
        ConfigurationError: A part was given: this line reverts whole messages only.
    """
    if part_id is not None:
        raise ConfigurationError("an OpenCode 2.x server takes back whole messages: give no part_id")
    body = {"messageID": message_id, "files": True}
    return [Call(_on(session_id, "POST", "/revert/stage", json=body)), get(session_id)]


def unrevert(session_id: str) -> list[Call[Any]]:
    """Undoes a revert."""
    return [Call(_on(session_id, "DELETE", "/revert")), get(session_id)]


def _unknown_session(request_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"an OpenCode 2.x server finds question {request_id} by its session: pass session_id, too"
    )


def _new(
    session_id: str | None,
    *,
    directory: str | None,
    title: str | None,
    rules: Sequence[Rule],
    metadata: Json | None,
) -> dict[str, Any]:
    location = None if directory is None else {"directory": directory}
    permissions = rules_to_json(rules) or None
    return without_none(
        id=session_id, title=title, location=location, metadata=metadata, permissions=permissions
    )


def _instructions(session_id: str, system: str | None) -> Call[Any]:
    """Sets the system prompt, or removes that of an earlier prompt, which the session would keep."""
    path = f"/instructions/entries/{_SYSTEM}"
    if system is None:
        request = _on(session_id, "DELETE", path, repeatable=True, root="/api/experimental/session")
        return Call(request, none_found=True)
    body = {"value": system}
    return Call(_on(session_id, "PUT", path, json=body, repeatable=True, root="/api/experimental/session"))


def _active() -> Request:
    return Request("GET", "/api/session/active", repeatable=True)


def _on(
    session_id: str | None, method: str, tail: str, *, root: str = "/api/session", **more: Any
) -> Request:
    return on_session(root, session_id, method, tail, **more)
