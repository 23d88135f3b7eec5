"""`display_ask`: what the agent waits for a person to answer, in words.

A person gives leave to what the card shows, so a card deletes nothing and hides nothing:

| of what the ask and its tool call say | on the card |
|---|---|
| what the title, the diff or the command is made of | there |
| anything else | a fact, with its name |
| what cannot be seen, such as a control character | a mark, see `protocol.visible` |
| what is too long | its size; leave can only be given where all of it is shown, `display_ask(…, whole=True)` |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from opencode_sessions.display.coerce import Json, entries, objects, one_line, safe_id, section
from opencode_sessions.display.room import Room, amount_of
from opencode_sessions.display.tools.calls import Call
from opencode_sessions.display.tools.cards import Code, Command, Data, Detail, Diff
from opencode_sessions.display.tools.file_cards import asked
from opencode_sessions.display.tools.paths import short, worktree_of
from opencode_sessions.display.tools.registry import TOOLS, kind_of
from opencode_sessions.display.wanting import Wanted, is_known, words_of
from opencode_sessions.protocol.asked import call_of, digest_of, waiting_call
from opencode_sessions.protocol.plain import plain, said
from opencode_sessions.protocol.visible import visible_line
from opencode_sessions.texts import counted

__all__ = ["Fact", "Option", "PermissionAsk", "Question", "QuestionAsk", "ShownAsk", "display_ask"]

_DEEPEST = 200


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a tool is given, by its name."""

    name: str
    text: str


class _Ask:
    """The base of both kinds."""

    __slots__ = ()
    id: str
    left_out: int
    size: int

    @property
    def anchor(self) -> str:
        """The id, as it can stand in an HTML id."""
        return safe_id(self.id)

    @property
    def more(self) -> str:
        """How much is not shown: "3,200 more lines, 81 kB"; empty where this is all."""
        return amount_of(self.left_out, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionAsk(_Ask):
    """The agent needs leave.

    Attributes:
        id: What it is answered by.
        permission: As the server names it.
        icon: The name of a symbol.
        verb: What it wants to do: "Run", "Edit", "Use GitHub:".
        target: To what.
        detail: The diff, the command, or what a tool is given that is not known here; of a command that `target` says
            whole, what it is for.
        facts: All else that the tool is given.
        patterns: What it is about to touch, as rules would name it, where `target` does not say so.
        always: What "always" would allow, where that is told; empty where it is not.
        asked_at: When it was first seen, in ISO 8601.
        untold: Nobody here knows what the tool is given.
        left_out: Lines that are not shown; `size`: their characters.
        shown: The digest of all that the ask says, also of what is left out. An answer names it.
        part: The id of the tool call that waits: the one that asks, or the one that runs the sub-agent. May be empty.
    """

    type: ClassVar[str] = "permission"
    id: str
    permission: str
    icon: str
    verb: str
    target: str
    detail: Detail | None = None
    facts: tuple[Fact, ...] = ()
    patterns: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    asked_at: str = ""
    untold: bool = False
    left_out: int = 0
    size: int = 0
    shown: str = ""
    part: str = ""

    @property
    def title(self) -> str:
        """In one line: "Run rm -rf build"."""
        return f"{self.verb} {self.target}".rstrip()

    @property
    def always_all(self) -> bool:
        """Would "always" allow all of this kind?"""
        return "*" in self.always


@dataclass(frozen=True, slots=True)
class Option:
    """Something that can be chosen. `label` is as the model wrote it, as it is what the answer says."""

    label: str
    description: str = ""

    @property
    def text(self) -> str:
        """The label, visibly."""
        return visible_line(self.label)


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
class QuestionAsk(_Ask):
    """The agent has one question, or several that are answered together.

    `left_out`, `size`, `shown` and `part` are as in `PermissionAsk`.
    """

    type: ClassVar[str] = "question"
    id: str
    questions: tuple[Question, ...]
    icon: ClassVar[str] = "question"
    asked_at: str = ""
    left_out: int = 0
    size: int = 0
    shown: str = ""
    part: str = ""

    @property
    def title(self) -> str:
        """In one line."""
        texts = [question.text.replace("\n", " ") for question in self.questions]
        return texts[0] if len(texts) == 1 else counted("{count} question", "{count} questions", len(texts))


ShownAsk: TypeAlias = PermissionAsk | QuestionAsk


def display_ask(
    ask: Any, parts: Iterable[Any] = (), *, root: str | None = None, whole: bool = False
) -> ShownAsk:
    """What is to be shown of an ask. Whatever is given, nothing is raised.

    Args:
        ask: As a message's row has it, or `Ask.to_json`.
        parts: The row's, which tell what the tool that asks was given.
        root: As in `display`.
        whole: Nothing is left out, however long that is; a diff is a text then, as the server wrote it.
    """
    found = ask if isinstance(ask, Mapping) else {}
    told = objects(parts)
    room = Room(endless=whole)
    if said(found.get("kind")) == "question":
        asked_ones = objects(found.get("questions"))
        questions = tuple(_question(place, question, room) for place, question in enumerate(asked_ones))
        return QuestionAsk(
            id=said(found.get("id")),
            questions=questions,
            asked_at=one_line(found.get("asked_at")),
            left_out=room.left_out,
            size=room.size,
            shown=digest_of(found, told),
            part=_part(found, told),
        )
    return _permission(found, told, root, room, whole=whole)


def _question(place: int, question: Json, room: Room) -> Question:
    header, text = room.line(said(question.get("header"))), room.text(said(question.get("question")))
    options = []
    for option in objects(question.get("options")):
        label, missed = said(option.get("label")), room.left_out
        room.line(label)
        if room.left_out == missed:
            options.append(Option(label, room.text(said(option.get("description")))))
    return Question(
        place=place,
        header=header,
        text=text,
        options=tuple(options),
        multiple=question.get("multiple") is True,
        own_answer=question.get("custom") is not False,
    )


def _permission(ask: Json, told: list[Json], root: str | None, room: Room, *, whole: bool) -> PermissionAsk:
    permission, metadata = said(ask.get("permission")), section(ask, "metadata")
    patterns = tuple(said(pattern) for pattern in entries(ask.get("patterns")))
    if root is None:
        root = worktree_of([*told, {"metadata": metadata, "title": next(iter(patterns), "")}])
    call = _call(ask, told, permission, root)
    wanted = Wanted(permission, metadata, patterns, call.given if call is not None else {}, root)
    icon, verb, target, named = words_of(wanted)
    detail, told_in_it = _detail(wanted, target, room, whole=whole)
    if not target.endswith("…"):
        told_in_it |= {*named}
    return PermissionAsk(
        id=said(ask.get("id")),
        permission=one_line(permission),
        icon=icon,
        verb=verb,
        target=target,
        detail=detail,
        facts=tuple(_facts(wanted, detail, told_in_it, room)),
        patterns=room.lines(pattern for pattern in patterns if not _is_told(pattern, wanted, target)),
        always=room.lines(said(pattern) for pattern in entries(ask.get("always"))),
        asked_at=one_line(ask.get("asked_at")),
        untold=call is None and not metadata and set(patterns) <= {"*"},
        left_out=room.left_out,
        size=room.size,
        shown=digest_of(ask, told),
        part=_part(ask, told),
    )


def _part(ask: Json, told: list[Json]) -> str:
    part = waiting_call(ask, told)
    return safe_id(said(part.get("id"))) if part is not None and part.get("id") else ""


_EDITS = frozenset(TOOLS[name].kind for name in ("edit", "write"))


def _call(ask: Json, told: list[Json], permission: str, root: str) -> Call | None:
    """The call that asks, if it is of the very tool that is asked for: an ask about a folder shows no file of it."""
    part = call_of(ask, told)
    if part is None:
        return None
    call = Call.of(part, root)
    fits = call.tool == permission or (permission == "edit" and kind_of(call.tool).kind in _EDITS)
    return call if fits and call.state in ("waiting", "running") else None


def _detail(wanted: Wanted, target: str, room: Room, *, whole: bool) -> tuple[Detail | None, set[str]]:
    """The detail, and the texts that need be told no more, as they stand in it."""
    permission, metadata, given = wanted.permission, wanted.metadata, wanted.given
    diff = None if whole else asked(metadata, wanted.root)
    if diff is not None:
        text = said(metadata.get("diff"))
        shown = sum(len(line.text) + 2 for file in diff.files for hunk in file.hunks for line in hunk.lines)
        room.miss(diff.left_out, max(len(text) - shown, 0))
        return diff, {text}
    command = said(metadata.get("command"))
    if command:
        described, folder = said(given.get("description")), said(given.get("workdir"))
        description, where = one_line(described), short(folder, wanted.root)
        told = {command}
        told |= {text for text, line in ((described, description), (folder, where)) if not line.endswith("…")}
        if permission == "bash" and "\n" not in command and not target.endswith("…") and not folder:
            return (Command(command="", description=description) if description else None), told
        return Command(command=room.text(command), description=description, folder=where), told
    if permission == "execute" and (code := said(given.get("code"))):
        return Code(text=room.text(code), language="javascript"), {code}
    if given and permission not in TOOLS:
        return Data(given=room.text(_text(given))), set()
    return None, set()


_OF_A_DIFF = ("files", "content", "oldString", "newString", "replaceAll", "edits", "patchText")
"""What the server makes an edit's diff of."""


def _facts(wanted: Wanted, detail: Detail | None, told: set[str], room: Room) -> Iterator[Fact]:
    """What else the ask and the call say. Where both give a name another value, both are told."""
    metadata, given = wanted.metadata, wanted.given
    if not is_known(wanted.permission):
        yield Fact("tool", room.line(wanted.permission))
    others = {} if isinstance(detail, Data) else given
    facts = [
        *metadata.items(),
        *((name, value) for name, value in others.items() if metadata.get(name) != value),
    ]
    for name, value in facts:
        of_the_diff = isinstance(detail, Diff) and wanted.permission == "edit" and name in _OF_A_DIFF
        if of_the_diff or value is None or _is_said(value, told, wanted.patterns):
            continue
        if text := room.text(_text(value)):
            yield Fact(one_line(name), text)


def _is_said(value: Any, told: set[str], patterns: tuple[str, ...]) -> bool:
    """Does it stand on the card already? A folder does in the pattern of what is in it."""
    if isinstance(value, str):
        return value in ("", *told) or (value != "*" and value in patterns) or f"{value}/*" in patterns
    return isinstance(value, list) and all(
        isinstance(each, str) and _is_said(each, told, patterns) for each in value
    )


def _is_told(pattern: str, wanted: Wanted, target: str) -> bool:
    """Is it told already? A command's patterns are pieces of it, and an edit's are its files."""
    if wanted.permission == "bash" and pattern in said(wanted.metadata.get("command")):
        return True
    shown = visible_line(pattern)
    return pattern == "*" or shown == target or (wanted.permission == "edit" and shown in target)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(plain(value, _DEEPEST), indent=2, ensure_ascii=False, default=str)
