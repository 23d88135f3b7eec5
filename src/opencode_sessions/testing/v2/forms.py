"""Forms: what the agent asks a person to fill in. A question is a form of one kind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.errors import (
    already_settled,
    conflict,
    form_not_found,
    invalid_answer,
)
from opencode_sessions.testing.v2.ids import new_id

__all__ = ["Forms"]

Json = dict[str, Any]


@dataclass(slots=True)
class _Form:
    info: Json
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    state: Json = field(default_factory=lambda: {"status": "pending"})


class Forms:
    """All forms of the server. They live in memory: a server that dies forgets them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._forms: dict[str, _Form] = {}

    def create(
        self,
        session_id: str,
        *,
        title: str,
        fields: list[Json],
        metadata: Json | None,
        form_id: str | None = None,
    ) -> Json:
        """Show a form to whoever listens.

        Raises:
            ApiError: There is a form of this id.
        """
        form_id = form_id or new_id("frm")
        if form_id in self._forms:
            raise conflict(f"Form already exists: {form_id}", resource=form_id)
        info: Json = {"id": form_id, "sessionID": session_id, "title": title}
        if metadata is not None:
            info["metadata"] = metadata
        info["fields"] = fields
        self._forms[form_id] = _Form(info)
        self._core.tell(session_id, "form.created", {"form": info})
        return info

    async def ask(self, session_id: str, *, title: str, fields: list[Json], metadata: Json) -> Json:
        """Show a form, and wait until it is answered or cancelled. If the wait is cancelled, so is the form.

        Returns:
            The state: `status`, and `answer` or `message`.
        """
        info = self.create(session_id, title=title, fields=fields, metadata=metadata)
        form = self._forms[info["id"]]
        try:
            await form.settled.wait()
        except asyncio.CancelledError:
            if not form.settled.is_set():
                self._settle(form, {"status": "cancelled"})
            raise
        return form.state

    def pending(self, *, session_id: str | None = None, directory: str | None = None) -> list[Json]:
        """The pending forms of a session, of a directory, or of all."""
        return [
            form.info
            for form in self._forms.values()
            if not form.settled.is_set()
            and session_id in (None, form.info["sessionID"])
            and (directory is None or self._directory_of(form.info["sessionID"]) == directory)
        ]

    def detail(self, session_id: str, form_id: str) -> Json:
        """A form with its state.

        Raises:
            ApiError: There is no such form.
        """
        form = self._find(session_id, form_id)
        return {**form.info, "state": form.state}

    def reply(self, session_id: str, form_id: str, answer: Mapping[str, Any]) -> None:
        """Answer a form.

        Raises:
            ApiError: There is no such form, it is settled, or the answer does not fit.
        """
        form = self._find_pending(session_id, form_id)
        for one in form.info["fields"]:
            trouble = _trouble(one, answer.get(one["key"]))
            if trouble:
                raise invalid_answer(form_id, f"{one['key']}: {trouble}")
        unknown = answer.keys() - {one["key"] for one in form.info["fields"]}
        if unknown:
            raise invalid_answer(form_id, f"Unknown field: {min(unknown)}")
        self._settle(form, {"status": "answered", "answer": dict(answer)})

    def cancel(self, session_id: str, form_id: str, message: str | None) -> None:
        """Refuse to answer a form.

        Raises:
            ApiError: There is no such form, or it is settled.
        """
        state = {"status": "cancelled", **({} if message is None else {"message": message})}
        self._settle(self._find_pending(session_id, form_id), state)

    def _settle(self, form: _Form, state: Json) -> None:
        form.state = state
        form.settled.set()
        session_id = form.info["sessionID"]
        data = {"id": form.info["id"], "sessionID": session_id}
        if state["status"] == "answered":
            self._core.tell(session_id, "form.replied", {**data, "answer": state["answer"]})
        else:
            self._core.tell(session_id, "form.cancelled", data)

    def _find(self, session_id: str, form_id: str) -> _Form:
        form = self._forms.get(form_id)
        if form is None or form.info["sessionID"] != session_id:
            raise form_not_found(form_id)
        return form

    def _find_pending(self, session_id: str, form_id: str) -> _Form:
        form = self._find(session_id, form_id)
        if form.settled.is_set():
            raise already_settled(form_id)
        return form

    def _directory_of(self, session_id: str) -> str:
        session = self._core.database.session(session_id)
        return str(session["location"]["directory"]) if session else self._core.directory


def _trouble(field: Json, value: Any) -> str | None:
    """What is wrong with the value of a field; None if nothing."""
    if value in (None, "", []):
        return "an answer is required" if field.get("required") else None
    kind = field["type"]
    expected = _TYPES.get(kind, ())
    if not expected:
        return f"fields of type {kind} take no answer here"
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean"):
        return f"a {kind} was expected"
    chosen: list[Any] = value if isinstance(value, list) else [value]
    if kind == "multiselect" and not all(isinstance(one, str) for one in chosen):
        return "each choice must be a string"
    if "options" in field and not field.get("custom"):
        known = {option["value"] for option in field["options"]}
        strange = [one for one in chosen if one not in known]
        if strange:
            return f"{strange[0]!r} is not among the options"
    return None


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "multiselect": list,
}
