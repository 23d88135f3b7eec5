"""`display_ask`: what the agent waits for a person to answer, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

from opencode_sessions.display.calls import Call
from opencode_sessions.display.detailing import detail_of
from opencode_sessions.display.details import Command, Detail
from opencode_sessions.display.file_details import asked
from opencode_sessions.display.naming import provider
from opencode_sessions.display.paths import short, worktree_of
from opencode_sessions.display.reading import (
    MOST_ITEMS,
    Json,
    cut,
    entries,
    objects,
    one_line,
    prose,
    safe_id,
    section,
)
from opencode_sessions.display.tools import TOOLS, kind_of
from opencode_sessions.protocol.plain import said

__all__ = ["Option", "PermissionAsk", "Question", "QuestionAsk", "ShownAsk", "display_ask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionAsk:
    """The agent needs leave.

    Attributes:
        id: What it is answered by.
        permission: As the server names it.
        icon: The name of a symbol.
        verb: What it wants to do: "Run", "Edit", "Use GitHub:".
        target: To what.
        detail: The diff, or what a tool is given: of a command that `target` says whole, what it is for. None if
            nothing more is told of it.
        patterns: What it is about to touch, as rules would name it, where `target` does not say so.
        always: What "always" would allow, where that is told; empty where it is not.
        asked_at: When it was first seen, in ISO 8601.
    """

    type: ClassVar[str] = "permission"
    id: str
    permission: str
    icon: str
    verb: str
    target: str
    detail: Detail | None = None
    patterns: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    asked_at: str = ""

    @property
    def title(self) -> str:
        """In one line: "Run rm -rf build"."""
        return f"{self.verb} {self.target}".rstrip()

    @property
    def always_all(self) -> bool:
        """Would "always" allow all of this kind?"""
        return "*" in self.always

    @property
    def anchor(self) -> str:
        """The id, as it can stand in an HTML id."""
        return safe_id(self.id)


@dataclass(frozen=True, slots=True)
class Option:
    """Something that can be chosen. `label` is whole: it is what the answer says."""

    label: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of an ask.

    Attributes:
        place: Which one, from 0 on.
        header: In a word or two.
        text: The question.
        options: What can be chosen.
        multiple: More than one may be chosen.
        own_answer: A text of one's own may be given.
    """

    place: int
    header: str
    text: str
    options: tuple[Option, ...] = ()
    multiple: bool = False
    own_answer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsk:
    """The agent has one question, or several that are answered together."""

    type: ClassVar[str] = "question"
    id: str
    questions: tuple[Question, ...]
    icon: ClassVar[str] = "question"
    asked_at: str = ""

    @property
    def title(self) -> str:
        """In one line."""
        return self.questions[0].text if len(self.questions) == 1 else f"{len(self.questions)} questions"

    @property
    def anchor(self) -> str:
        """The id, as it can stand in an HTML id."""
        return safe_id(self.id)


ShownAsk: TypeAlias = PermissionAsk | QuestionAsk


def display_ask(ask: Any, parts: Iterable[Any] = (), *, root: str | None = None) -> ShownAsk:
    """What is to be shown of an ask. Whatever is given, nothing is raised.

    Args:
        ask: As a message's row has it, or `Ask.to_json`.
        parts: The row's, which tell what the tool that asks was given.
        root: As in `display`.
    """
    found = ask if isinstance(ask, Mapping) else {}
    told = objects(parts)
    root = worktree_of(told) if root is None else root
    if said(found.get("kind")) == "question":
        questions = objects(found.get("questions"))[:MOST_ITEMS]
        return QuestionAsk(
            id=said(found.get("id")),
            questions=tuple(_question(place, question) for place, question in enumerate(questions)),
            asked_at=one_line(found.get("asked_at")),
        )
    return _permission(found, _call(found, told, root), root)


def _question(place: int, question: Json) -> Question:
    options = objects(question.get("options"))[:MOST_ITEMS]
    return Question(
        place=place,
        header=one_line(question.get("header")),
        text=prose(said(question.get("question")), 4_000).text,
        options=tuple(
            Option(said(option.get("label")), one_line(option.get("description"), 500)) for option in options
        ),
        multiple=question.get("multiple") is True,
        own_answer=question.get("custom") is not False,
    )


def _permission(ask: Json, call: Call | None, root: str) -> PermissionAsk:
    permission, metadata = said(ask.get("permission")), section(ask, "metadata")
    patterns = tuple(one_line(pattern, _WHOLE) for pattern in entries(ask.get("patterns"))[:MOST_ITEMS])
    wanted = _Wanted(permission, metadata, patterns, root)
    icon, verb, target = _WORDS.get(permission, _of_tool)(wanted)
    beside = tuple(pattern for pattern in patterns if pattern != "*" and pattern not in target)
    return PermissionAsk(
        id=said(ask.get("id")),
        permission=one_line(permission),
        icon=icon,
        verb=verb,
        target=target,
        detail=_beside(target, _detail(wanted, call)),
        patterns=beside,
        always=tuple(one_line(pattern, _WHOLE) for pattern in entries(ask.get("always"))[:MOST_ITEMS]),
        asked_at=one_line(ask.get("asked_at")),
    )


def _call(ask: Json, parts: list[Json], root: str) -> Call | None:
    """The call that asks, which tells what its tool was given.

    A sub-agent's calls are not among the parts, and may bear the same id as one of them.
    """
    call_id, session_id = said(ask.get("call_id")), said(ask.get("session_id"))
    if any(said(section(part, "metadata").get("sessionId")) == session_id for part in parts):
        return None
    for part in parts:
        if call_id and said(part.get("call_id")) == call_id:
            call = Call.of(part, root)
            return call if call.state in ("waiting", "running") else None
    return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    permission: str
    metadata: Json
    patterns: tuple[str, ...]
    root: str

    def first(self, *names: str) -> str:
        """The first text of the metadata, else the first pattern that says something."""
        texts = (said(self.metadata.get(name)) for name in names)
        return next((text for text in texts if text), next((p for p in self.patterns if p != "*"), ""))


def _detail(wanted: _Wanted, call: Call | None) -> Detail | None:
    diff = asked(wanted.metadata, wanted.root)
    if diff is not None:
        return diff
    command = said(wanted.metadata.get("command"))
    if command and (wanted.permission != "bash" or one_line(command, _WHOLE) != command):
        return Command(command=cut(command).text)  # else the line says it whole
    # Only where the call is of the very tool that is asked for: an ask about a folder shows no file of it.
    return detail_of(call) if call is not None and call.tool == wanted.permission not in _PLAIN else None


def _beside(target: str, detail: Detail | None) -> Detail | None:
    """Without the command, where the line says it whole."""
    if not isinstance(detail, Command) or detail.command != target or detail.folder:
        return detail
    return replace(detail, command="") if detail.description else None


_PLAIN = ("read", "glob", "grep", "question", "task", "skill", "webfetch", "websearch", "lsp")
"""Permissions whose line says it all."""


_WHOLE = 2_000
"""Characters of a line: nobody can give leave to what he is shown the beginning of."""

_Words: TypeAlias = tuple[str, str, str]


def _edit(wanted: _Wanted) -> _Words:
    diff = asked(wanted.metadata, wanted.root)
    changes = {file.change for file in diff.files} if diff else set()
    names = ", ".join(path for path in wanted.patterns if path != "*") or short(
        wanted.first("filepath"), wanted.root, _WHOLE
    )
    if changes == {"add"}:
        return "file-plus", "Create", one_line(names, _WHOLE)
    if changes == {"delete"}:
        return "trash", "Delete", one_line(names, _WHOLE)
    return "pencil", "Edit", one_line(names, _WHOLE)


def _read(wanted: _Wanted) -> _Words:
    uri, server = said(wanted.metadata.get("uri")), said(wanted.metadata.get("server"))
    if uri or server:
        return (
            "plug",
            "Read",
            one_line(f"{uri or 'the resources'} of {provider(server) or 'an MCP server'}", _WHOLE),
        )
    return "file", "Read", short(wanted.first("filepath"), wanted.root, _WHOLE)


def _outside(wanted: _Wanted) -> _Words:
    return "folder", "Use files outside of the project:", short(wanted.first("filepath"), "", _WHOLE)


def _loop(wanted: _Wanted) -> _Words:
    tool = one_line(wanted.first("tool"))
    return "retry", "Go on, though it repeats itself:", tool


def _of_tool(wanted: _Wanted) -> _Words:
    kind = kind_of(wanted.permission)
    if wanted.permission not in TOOLS:
        return kind.icon, _sentence(kind.do), kind.name
    target = wanted.first("command", "url", "query", "description", "pattern", "operation")
    return kind.icon, _sentence(kind.do), one_line(target, _WHOLE)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


_WORDS: dict[str, Callable[[_Wanted], _Words]] = {
    "doom_loop": _loop,
    "edit": _edit,
    "external_directory": _outside,
    "read": _read,
}
