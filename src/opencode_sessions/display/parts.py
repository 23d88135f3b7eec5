"""`display`: the view models of the parts in a message's row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from opencode_sessions.display.coerce import (
    MOST_ITEMS,
    Json,
    cut,
    entries,
    number,
    objects,
    one_line,
    pretty,
    prose,
    safe_id,
    section,
)
from opencode_sessions.display.files import shown_file
from opencode_sessions.display.model import (
    File,
    Notice,
    Patch,
    Shown,
    Structured,
    Text,
    Thought,
    Todos,
    Tool,
)
from opencode_sessions.display.tools.calls import Call, why_not
from opencode_sessions.display.tools.make_card import detail_of, todo_list
from opencode_sessions.display.tools.naming import words
from opencode_sessions.display.tools.paths import short, worktree_of
from opencode_sessions.display.tools.registry import kind_of
from opencode_sessions.protocol.attachments import attachments_of
from opencode_sessions.protocol.plain import said
from opencode_sessions.texts import later, text

__all__ = ["display", "growing_place"]

_OVER = ("completed", "cancelled", "failed")
_BROKEN_OFF = later("The turn ended before this did.")


def display(
    parts: Iterable[Any],
    *,
    status: str | None = None,
    asks: Iterable[Any] = (),
    root: str | None = None,
    files: str = "",
) -> list[Shown]:
    """What is to be shown of a reply, in its order. Whatever is given, nothing is raised.

    Args:
        parts: As a message's row has them, or `Reply.to_json`. Those that say nothing are left out.
        status: The row's. It tells a text that still grows, and a call that runs, from what the end of the turn
            broke off; None says nothing of that.
        asks: The row's: a call that waits for a person says so.
        root: The worktree, for paths that are shown from there on; by default, what the calls tell of it.
        files: A URL to which the ids of a message and of an attachment are added, as `msg_…/prt_…`, and which then
            gives the content. Without one, small pictures have `data:` URLs, and all else has none.
    """
    found = objects(parts)
    waiting = {said(ask.get("call_id")) for ask in objects(asks)} - {""}
    # What has no id of its own is named after the message: several may stand on one page.
    turn = next((said(part.get("message_id")) for part in found if part.get("message_id")), "")
    showing = _Showing(worktree_of(found) if root is None else root, status, waiting, turn, files)
    last = growing_place(found)
    shown = (showing.show(part, place, is_last=place == last) for place, part in enumerate(found))
    return [each for each in shown if each is not None]


def growing_place(parts: Sequence[Json]) -> int:
    """The place of the part that still grows: the last one, without the todo list, which stays at the end."""
    return max((place for place, part in enumerate(parts) if part.get("type") != "todos"), default=-1)


class _Showing:
    """Makes the view models of one reply."""

    def __init__(self, root: str, status: str | None, waiting: set[str], turn: str, files: str) -> None:
        self._root = root
        self._files = files
        self._over = status in _OVER
        self._live = status == "streaming"
        self._waiting = waiting
        self._prefix = f"{turn}-" if turn else ""
        self._ids: dict[str, int] = {}  # for each, the last number that was appended to it

    def show(self, part: Json, place: int, *, is_last: bool) -> Shown | None:
        kind = said(part.get("type"))
        part_id = self._id(said(part.get("id")) or f"{self._prefix}{kind[:20] or 'part'}-{place}")
        if kind in ("text", "reasoning"):
            return self._text(part_id, part, growing=self._live and is_last)
        if kind == "tool":
            return self._tool(part_id, part)
        if kind == "file":
            return shown_file(part_id, section(part, "data"), files=self._files)
        return _OTHERS.get(kind, _unknown)(part_id, part, self._root)

    def _id(self, wanted: str) -> str:
        """An id that is safe in HTML and was not used yet."""
        stem = made = safe_id(wanted)
        count = self._ids.get(stem, 1)
        while made in self._ids:
            count += 1
            made = f"{stem}-{count}"
        self._ids[stem] = count
        self._ids.setdefault(made, 1)
        return made

    def _text(self, part_id: str, part: Json, *, growing: bool) -> Shown | None:
        shown = prose(said(part.get("text")))
        if not shown.text.strip():
            return None  # a broken stream may also have emptied it
        if part.get("type") == "text":
            return Text(id=part_id, markdown=shown.text, growing=growing, left_out=shown.left_out)
        return Thought(
            id=part_id,
            markdown=shown.text,
            growing=growing,
            duration=_duration(part),
            left_out=shown.left_out,
        )

    def _tool(self, part_id: str, part: Json) -> Tool:
        call = Call.of(part, self._root)
        kind = kind_of(call.tool)
        state, error = call.state, why_not(call)
        asks = said(part.get("call_id")) in self._waiting and state in ("waiting", "running")
        if asks:
            state = "waiting"
        elif self._over and state in ("waiting", "running"):
            state, error = "failed", error or text(_BROKEN_OFF)
        return Tool(
            id=part_id,
            tool=one_line(call.tool),
            kind=kind.kind,
            state=state,
            verb=kind.verb(state, asks=asks),
            icon=kind.icon,
            target=kind.about(call),
            detail=detail_of(call),
            error=cut(error).text,
            duration=_duration(part),
            asks=asks,
            files=tuple(self._returned(part_id, part, call)),
        )

    def _returned(self, part_id: str, part: Json, call: Call) -> Iterator[File]:
        """The files that a call returned. A file from `read` gets the name of the file that was read."""
        name = PurePath(call.path()).name if call.tool == "read" else ""
        for place, told in enumerate(attachments_of(part)):
            yield shown_file(f"{part_id}-file-{place}", told, files=self._files, name=one_line(name))


def _duration(part: Json) -> float | None:
    """The duration in seconds; the server's times are in milliseconds."""
    time = section(part, "time") or section(section(part, "data"), "time")
    start, end = number(time.get("start")), number(time.get("end"))
    return None if start is None or end is None or end < start else (end - start) / 1000


def _todos(part_id: str, part: Json, _: str) -> Shown | None:
    found = todo_list(section(part, "data").get("todos"))
    return Todos(id=part_id, list=found) if found.todos else None


def _patch(part_id: str, part: Json, root: str) -> Shown | None:
    named = [path for path in entries(section(part, "data").get("files")) if said(path).strip()]
    files = tuple(short(path, root) for path in named[:MOST_ITEMS])
    return Patch(id=part_id, files=files, left_out=len(named[MOST_ITEMS:])) if named else None


def _structured(part_id: str, part: Json, _: str) -> Shown:
    shown = cut(pretty(part.get("data")))
    return Structured(id=part_id, text=shown.text, left_out=shown.left_out)


def _finish(part_id: str, part: Json, _: str) -> Shown:
    reason = one_line(part.get("reason"))
    if reason == "length":
        title = text("The answer is cut off")
        about = text("It reached the longest that the model may answer. Ask it to go on.")
    else:
        title = text("The model stopped before the end")
        about = text("The provider says: {reason}.", reason=reason)
    return Notice(id=part_id, kind="finish", icon="info", title=title, text=about, reason=reason)


def _compaction(part_id: str, _part: Json, _: str) -> Shown:
    return Notice(
        id=part_id,
        kind="compaction",
        icon="fold",
        title=text("The conversation got long"),
        text=text("The conversation before this was summed up, to make room."),
    )


def _retry(part_id: str, part: Json, _: str) -> Shown:
    data = section(part, "data")
    attempt, error = number(data.get("attempt")), section(data, "error")
    told = (
        said(error.get("message")) or said(section(error, "data").get("message")) or said(data.get("message"))
    )
    title = (
        text("The model's provider was asked again")
        if attempt is None
        else text("The model's provider was asked again (attempt {attempt})", attempt=attempt)
    )
    return Notice(id=part_id, kind="retry", icon="retry", title=title, text=one_line(told, 500))


def _unknown(part_id: str, part: Json, _: str) -> Shown | None:
    kind = one_line(part.get("type"))
    if kind in ("step-start", "step-finish", "snapshot"):
        return None
    title = words(kind).capitalize() or text("Something")
    return Notice(
        id=part_id, kind=kind, icon="info", title=title, text=one_line(pretty(part.get("data")), 500)
    )


_OTHERS: dict[str, Callable[[str, Json, str], Shown | None]] = {
    "compaction": _compaction,
    "finish": _finish,
    "patch": _patch,
    "retry": _retry,
    "structured": _structured,
    "todos": _todos,
}
