"""One piece of a reply: a text, a tool call or anything else from the server becomes a `Part`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, overload

from opencode_sessions.protocol.attachments import kept, kept_all
from opencode_sessions.protocol.plain import plain, said
from opencode_sessions.protocol.progress import Progress

__all__ = ["BOOKKEEPING", "STREAMED", "Change", "Part"]

Json = Mapping[str, Any]

STREAMED = ("text", "reasoning")
"""The kinds of parts whose text comes in deltas."""

BOOKKEEPING = ("step-start", "step-finish", "snapshot")
"""The kinds of parts that do not belong to an answer."""

_ENVELOPE = ("id", "messageID", "sessionID", "type")
_RANKS = {None: -1, "pending": 0, "completed": 2, "error": 2}
_RUNNING, _ENDED = 1, 2
_LOOSE = 512


class _Growing:
    """A text that grows cheaply: it is stored in pieces, and joined when it is read.

    Each step is one operation on the list, so that another thread may read it at the same time.
    """

    @overload
    def __get__(self, part: None, owner: type[Part]) -> str: ...
    @overload
    def __get__(self, part: Part, owner: type[Part]) -> str: ...
    def __get__(self, part: Part | None, owner: type[Part]) -> str:
        return "" if part is None else "".join(part._pieces)  # noqa: SLF001 - the descriptor is the part's own

    def __set__(self, part: Part, value: str) -> None:
        part._pieces = [value]  # noqa: SLF001
        part._loose = 0  # noqa: SLF001


@dataclass
class Part:
    """One piece of a reply. `type` is `text`, `reasoning`, `tool`, `todos`, or another of the server's kinds.

    Attributes:
        text: The text so far of a text or reasoning part.
        tool: The tool of a tool call; `call_id` names the call.
        status: The status of a tool call: `pending`, `running`, `completed` or `error`.
        time: The begin and end of a thought, a text or a tool call: `start` and `end`, in milliseconds since 1970 by
            the server's clock.
        attachments: The pictures and files that a tool call returned; a large one without its content
            (see `opencode_sessions.protocol.attachments`).
        data: A part of another kind (file, patch, retry, …) in the server's form; a large file without its content.
        progress: The progress of the sub-agent that this tool call started; only events carry it.
        ended: Whether a text has ended, so that no more deltas come.
    """

    id: str
    message_id: str
    type: str
    text: _Growing = _Growing()
    tool: str | None = None
    call_id: str | None = None
    status: str | None = None
    input: Json | None = None
    title: str | None = None
    output: str | None = None
    error: str | None = None
    metadata: Json | None = None
    attachments: list[dict[str, Any]] | None = None
    time: Json | None = None
    data: Json | None = None
    progress: Progress | None = None
    ended: bool = field(default=False, compare=False)
    _pieces: list[str] = field(init=False, repr=False, compare=False)
    _loose: int = field(init=False, repr=False, compare=False)

    @property
    def speaks(self) -> bool:
        """Whether the part has text; cheaper than reading it."""
        return any(self._pieces)

    def grow(self, delta: str) -> None:
        """Add text at the end."""
        self._pieces.append(delta)
        self._loose += 1
        if self._loose == _LOOSE:  # many small pieces need much memory, so join them
            self._pieces[-_LOOSE:] = ["".join(self._pieces[-_LOOSE:])]
            self._loose = 0

    def take(self, found: Json) -> Change | None:
        """Apply the whole part from the server; None if that changes nothing."""
        kind = said(found.get("type"))
        renamed, self.type = kind != self.type, kind
        if kind in STREAMED:
            return self._take_text(found, renamed=renamed)
        changed = self._take_tool(found) if kind == "tool" else self._take_data(found)
        return Change(self) if changed or renamed else None

    def to_json(self) -> dict[str, Any]:
        """The part as JSON, without absent values."""
        told = {name: getattr(self, name) for name in _TOLD}
        told["progress"] = None if self.progress is None else self.progress.to_json()
        named = {"id": self.id, "message_id": self.message_id, "type": self.type}
        return named | {name: value for name, value in told.items() if value is not None and value != ""}

    @classmethod
    def from_json(cls, value: Json) -> Part:
        """The part that `to_json` wrote."""
        named = value["id"], value["message_id"], value["type"]
        part = cls(*named, **{name: value[name] for name in _TOLD if name in value})
        if "progress" in value:
            part.progress = Progress.from_json(value["progress"])
        return part

    def _take_text(self, found: Json, *, renamed: bool) -> Change | None:
        text, time = said(found.get("text")), found.get("time")
        ends = isinstance(time, Mapping) and time.get("end") is not None
        self.ended = self.ended or ends
        self.time = _times(time) or self.time
        heard = self.text
        told = "" if renamed else heard  # no listener has seen it as this kind yet
        # An empty part does not overrule the deltas that came before it, unless it is the part's end.
        text = text if text or ends else heard
        if text == told and not renamed:
            return None
        if text != heard:
            self.text = text
        return Change(self, text.removeprefix(told) if text.startswith(told) else "")

    def _take_data(self, found: Json) -> bool:
        before = self.data
        if self.type == "file":
            self.data = kept(found)
        else:
            self.data = plain({key: value for key, value in found.items() if key not in _ENVELOPE})
        return self.data != before

    def _take_tool(self, found: Json) -> bool:
        state = found.get("state")
        state = state if isinstance(state, Mapping) else {}
        status = said(state.get("status")) or self.status
        rank = _RANKS.get(status, _RUNNING)
        if rank < _RANKS.get(self.status, _RUNNING):
            return False  # an old event, which waited while the state was read
        before = self._call()
        self.tool = said(found.get("tool")) or self.tool
        self.call_id = said(found.get("callID")) or self.call_id
        self.status = status
        self.input = _object(state, "input") or self.input
        # An update of a running call has only new values; the last update is whole.
        known = before if rank < _ENDED else {}
        self.title = said(state.get("title")) or known.get("title")
        self.output = said(state.get("output")) or known.get("output")
        self.error = said(state.get("error")) or known.get("error")
        self.metadata = _object(state, "metadata") or known.get("metadata")
        self.attachments = kept_all(state.get("attachments")) or known.get("attachments")
        self.time = _times(state.get("time")) or self.time
        if status == "error":
            self.title = self.output = None  # the event of an aborted call has a title that is not stored
        return self._call() != before

    def _call(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _CALL}


_CALL = ("tool", "call_id", "status", "input", "title", "output", "error", "metadata", "attachments")
_TOLD = ("text", *_CALL, "time", "data")


@dataclass(frozen=True, slots=True)
class Change:
    """The change by one event: the part as it is now. `delta` is the added text, if only text was added."""

    part: Part
    delta: str = ""


def _times(found: Any) -> Json | None:
    if not isinstance(found, Mapping):
        return None
    return {name: found[name] for name in ("start", "end") if isinstance(found.get(name), int)} or None


def _object(state: Json, name: str) -> Json | None:
    found = state.get(name)
    return plain(found) if isinstance(found, Mapping) else None
