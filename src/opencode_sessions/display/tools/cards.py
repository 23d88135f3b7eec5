"""The contents of tools' cards: one frozen dataclass for each kind.

All texts are plain text, which the page must escape, unless they are documented as Markdown. A tool's input is shown by
the rules of `protocol.visible`, with marks for invisible characters. Long texts are cut; `left_out` counts the missing
lines. `note` is a short fact for the card's line, such as `+3 -1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal, TypeAlias

from opencode_sessions.display.tools.diffs import FileDiff
from opencode_sessions.protocol.visible import blank_lines
from opencode_sessions.texts import counted, number, text

__all__ = [
    "Answered",
    "Code",
    "Command",
    "Data",
    "Detail",
    "Diff",
    "FileContent",
    "Listing",
    "Match",
    "Matches",
    "Output",
    "Page",
    "Questions",
    "Step",
    "SubAgent",
    "Todo",
    "TodoList",
    "ToolState",
]

ToolState: TypeAlias = Literal["waiting", "running", "done", "failed", "refused"]


def _height(line: str) -> int:
    return blank_lines(line) or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Changes that were made, or will be made, file by file.

    Attributes:
        files: The files with their hunks, and the lines with their kind and numbers.
        left_out: How many lines are not shown.
    """

    type: ClassVar[str] = "diff"
    files: tuple[FileDiff, ...]
    left_out: int = 0

    @property
    def note(self) -> str:
        """`+3 -1`."""
        added, removed = (sum(getattr(file, name) for file in self.files) for name in ("added", "removed"))
        return f"+{number(added)} \N{MINUS SIGN}{number(removed)}" if added or removed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """Some lines of a file.

    Attributes:
        path: The file, relative to the worktree.
        text: The lines.
        language: The highlighters' name of the language (`python`); empty if it is unknown.
        first_line: The number of the first line.
        total: How many lines the file has, if that is known.
        left_out: How many lines are not shown.
    """

    type: ClassVar[str] = "file"
    path: str
    text: str
    language: str = ""
    first_line: int = 1
    total: int | None = None
    left_out: int = 0

    @property
    def lines(self) -> list[tuple[int, str]]:
        """The lines with their numbers; one may stand for many blank lines."""
        lines = self.text.split("\n") if self.text else []
        return list(zip(accumulate(map(_height, lines), initial=self.first_line), lines, strict=False))

    @property
    def note(self) -> str:
        """`15 lines`, or the range of lines."""
        count = sum(_height(line) for _, line in self.lines) + self.left_out
        if self.total is None or count >= self.total:
            return counted("{count} line", "{count} lines", count)
        last = self.first_line + count - 1
        return text("lines {first}-{last} of {total}", first=self.first_line, last=last, total=self.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the shell, and its output.

    Attributes:
        command: The command; empty if the line of an ask shows it already.
        output: The output so far; if it is long, the end.
        exit_code: None while it runs, and if it was stopped.
        description: Its purpose, in the model's words.
        folder: Its working directory, if that is not the session's.
        remark: The server's remark, such as a timeout.
        left_out: How many lines at the beginning of the output are not shown.
    """

    type: ClassVar[str] = "command"
    command: str
    output: str = ""
    exit_code: int | None = None
    description: str = ""
    folder: str = ""
    remark: str = ""
    left_out: int = 0

    @property
    def note(self) -> str:
        """`exit 1`, if it failed."""
        return text("exit {code}", code=str(self.exit_code)) if self.exit_code else ""


@dataclass(frozen=True, slots=True)
class Match:
    """A line that a search found."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What a search in files found.

    Attributes:
        matches: The shown matches, in the order of the search.
        total: How many were found.
        more: Whether there are more that the search did not return.
    """

    type: ClassVar[str] = "matches"
    matches: tuple[Match, ...]
    total: int
    more: bool = False

    @property
    def left_out(self) -> int:
        """Matches that are not shown."""
        return self.total - len(self.matches)

    @property
    def by_file(self) -> list[tuple[str, list[Match]]]:
        """The matches of each file."""
        found: dict[str, list[Match]] = {}
        for match in self.matches:
            found.setdefault(match.path, []).append(match)
        return list(found.items())

    @property
    def note(self) -> str:
        """`3 matches`."""
        if self.more:
            return counted("{count} match or more", "{count} matches or more", self.total)
        return counted("{count} match", "{count} matches", self.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Files that were found, or a folder's entries.

    Attributes:
        entries: The shown entries; folders end with a slash.
        total: How many there are.
        more: Whether there are more that the search did not return.
    """

    type: ClassVar[str] = "listing"
    entries: tuple[str, ...]
    total: int
    more: bool = False

    @property
    def left_out(self) -> int:
        """Entries that are not shown."""
        return self.total - len(self.entries)

    @property
    def note(self) -> str:
        """`12 files`."""
        if self.more:
            return counted("{count} file or more", "{count} files or more", self.total)
        return counted("{count} file", "{count} files", self.total)


@dataclass(frozen=True, slots=True)
class Todo:
    """An item. `status` is `pending`, `in_progress`, `completed` or `cancelled`; `priority` may be empty."""

    text: str
    status: str
    priority: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TodoList:
    """The agent's todo list."""

    type: ClassVar[str] = "todos"
    todos: tuple[Todo, ...]
    left_out: int = 0

    @property
    def done(self) -> int:
        """How many are completed."""
        return sum(todo.status == "completed" for todo in self.todos)

    @property
    def open(self) -> int:
        """How many items were not cancelled."""
        return sum(todo.status != "cancelled" for todo in self.todos)

    @property
    def note(self) -> str:
        """`1 of 3 done`."""
        return text("{done} of {open} done", done=self.done, open=self.open) if self.todos else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A tool call of a sub-agent, or of a program: a small card."""

    tool: str
    icon: str
    verb: str
    target: str
    state: ToolState


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgent:
    """A sub-agent and its work.

    Attributes:
        agent: The agent's name.
        description: Its task in a few words.
        prompt: Its prompt.
        status: `running`, `waiting` for a person, `retrying` a provider, or `idle`; empty if it is unknown.
        steps: Its last tool calls.
        earlier: How many tool calls there were before those.
        says: The end of its text, while it works.
        answer: Its answer, in Markdown.
        waits_for: The permissions that it asks for, and `question`.
        left_out: How many lines of the answer are not shown.
    """

    type: ClassVar[str] = "agent"
    agent: str
    description: str = ""
    prompt: str = ""
    status: str = ""
    steps: tuple[Step, ...] = ()
    earlier: int = 0
    says: str = ""
    answer: str = ""
    waits_for: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def note(self) -> str:
        """`2 steps`."""
        count = len(self.steps) + self.earlier
        return counted("{count} step", "{count} steps", count) if count else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A question, its options and its answers; `answers` may contain a text of the person's own."""

    header: str
    text: str
    options: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The questions that the agent asked a person."""

    type: ClassVar[str] = "questions"
    questions: tuple[Answered, ...]

    @property
    def note(self) -> str:
        """The answers, if there is one question."""
        answers = [answer for question in self.questions for answer in question.answers]
        return ", ".join(answers)[:80] if len(self.questions) == 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page from the web.

    Attributes:
        url: An http or https URL, or empty.
        text: The page's text.
        markdown: Whether the text is Markdown.
        left_out: How many lines are not shown.
    """

    type: ClassVar[str] = "page"
    url: str
    text: str
    markdown: bool = False
    left_out: int = 0
    note: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A program that the agent wrote and ran, the tools that it called, and its result."""

    type: ClassVar[str] = "code"
    text: str
    language: str
    steps: tuple[Step, ...] = ()
    output: str = ""
    left_out: int = 0

    @property
    def note(self) -> str:
        """`2 calls`."""
        return counted("{count} call", "{count} calls", len(self.steps)) if self.steps else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The result of a tool, as a text without a known form."""

    type: ClassVar[str] = "output"
    text: str
    left_out: int = 0
    note: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The input and the result of an unknown tool: JSON with indentation, or a text."""

    type: ClassVar[str] = "data"
    given: str
    result: str = ""
    left_out: int = 0
    note: ClassVar[str] = ""


Detail: TypeAlias = (
    Diff
    | FileContent
    | Command
    | Matches
    | Listing
    | TodoList
    | SubAgent
    | Questions
    | Page
    | Code
    | Output
    | Data
)
