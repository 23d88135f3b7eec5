"""`display_ask`: the view model of an ask.

A person approves what the card shows, so a card removes nothing and hides nothing:

| values of the ask and its tool call | on the card |
|---|---|
| those in the title, the diff or the command | there |
| all others | a fact, with its name |
| invisible characters, such as controls | a mark, see `protocol.visible` |
| too long texts | their size; the ask can only be allowed on the full card, `display_ask(…, whole=True)` |
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
    """A value in a tool's input, with its name."""

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
        """The id in a form for HTML ids."""
        return safe_id(self.id)

    @property
    def more(self) -> str:
        """The size of the missing part: "3,200 more lines, 81 kB"; empty if nothing is missing."""
        return amount_of(self.left_out, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionAsk(_Ask):
    """A permission that the agent needs.

    Attributes:
        id: The server's id of the ask; an answer names it.
        permission: The server's name of the permission.
        icon: The name of a symbol.
        verb: The action: "Run", "Edit", "Use GitHub:".
        target: The object of the action.
        detail: The diff, the command, or the input of an unknown tool. If `target` is the whole command, the command's
            description.
        facts: All other values of the tool's input.
        patterns: The patterns of the ask, in the form of rules, unless `target` shows them.
        always: The patterns that "always" would allow; empty if they are not known.
        asked_at: When the ask was first seen, in ISO 8601.
        untold: Whether the tool's input is unknown here.
        left_out: How many lines are not shown; `size` is their number of characters.
        shown: The digest of the whole ask, including the parts that are not shown. An answer names it.
        part: The id of the tool call that waits: the one that asks, or the one that runs the sub-agent. It may be
            empty.
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
        """The ask on one line: "Run rm -rf build"."""
        return f"{self.verb} {self.target}".rstrip()

    @property
    def always_all(self) -> bool:
        """Whether "always" would allow all actions of this kind."""
        return "*" in self.always


@dataclass(frozen=True, slots=True)
class Option:
    """An option. `label` is the model's own text, because an answer repeats it."""

    label: str
    description: str = ""

    @property
    def text(self) -> str:
        """The label, made visible."""
        return visible_line(self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of an ask.

    Attributes:
        place: The number of the question, from 0.
        header: One or two words.
        text: The question.
        options: The options.
        multiple: Whether several options may be chosen.
        own_answer: Whether the person may give a text of their own.
    """

    place: int
    header: str
    text: str
    options: tuple[Option, ...] = ()
    multiple: bool = False
    own_answer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsk(_Ask):
    """One question of the agent, or several that are answered together.

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
        """The ask on one line."""
        texts = [question.text.replace("\n", " ") for question in self.questions]
        return texts[0] if len(texts) == 1 else counted("{count} question", "{count} questions", len(texts))


ShownAsk: TypeAlias = PermissionAsk | QuestionAsk


def display_ask(
    ask: Any, parts: Iterable[Any] = (), *, root: str | None = None, whole: bool = False
) -> ShownAsk:
    """The view model of an ask. It never raises.

    Args:
        ask: An ask from a message's row, or from `Ask.to_json`.
        parts: The parts in the row, which contain the input of the tool that asks.
        root: See `display`.
        whole: Whether to show everything, however long. A diff is then a text, as the server wrote it.
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
    """The call that asks, if it is a call of the tool that needs the permission. An ask for a folder shows no file."""
    part = call_of(ask, told)
    if part is None:
        return None
    call = Call.of(part, root)
    fits = call.tool == permission or (permission == "edit" and kind_of(call.tool).kind in _EDITS)
    return call if fits and call.state in ("waiting", "running") else None


def _detail(wanted: Wanted, target: str, room: Room, *, whole: bool) -> tuple[Detail | None, set[str]]:
    """The detail, and the texts in it, which need not be repeated."""
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
"""The inputs from which the server makes the diff of an edit."""


def _facts(wanted: Wanted, detail: Detail | None, told: set[str], room: Room) -> Iterator[Fact]:
    """The other values of the ask and the call. If both have different values for a name, both are shown."""
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
    """Is the text on the card already? A folder is there if the pattern of its content is."""
    if isinstance(value, str):
        return value in ("", *told) or (value != "*" and value in patterns) or f"{value}/*" in patterns
    return isinstance(value, list) and all(
        isinstance(each, str) and _is_said(each, told, patterns) for each in value
    )


def _is_told(pattern: str, wanted: Wanted, target: str) -> bool:
    """Is the pattern shown already? The patterns of a command are pieces of it, and those of an edit are its files."""
    if wanted.permission == "bash" and pattern in said(wanted.metadata.get("command")):
        return True
    shown = visible_line(pattern)
    return pattern == "*" or shown == target or (wanted.permission == "edit" and shown in target)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(plain(value, _DEEPEST), indent=2, ensure_ascii=False, default=str)
