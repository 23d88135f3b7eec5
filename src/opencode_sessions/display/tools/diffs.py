"""Unified diffs, read line by line, with the numbers of the lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, TypeAlias

from opencode_sessions.display.coerce import MOST_CHARACTERS, MOST_LINES, laid_out
from opencode_sessions.protocol.visible import visible, visible_blank_lines, visible_line

__all__ = ["DiffLine", "FileDiff", "Hunk", "parse_diff", "replaced"]

Change: TypeAlias = Literal["add", "edit", "delete", "move"]

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@ ?(.*)")
_NOWHERE = "/dev/null"
_BETWEEN = (
    "Index: ",
    "=====",
    "\\ No newline",
    "diff --git ",
    "index ",
    "new file mode ",
    "deleted file mode ",
)


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line. `old` and `new` are its numbers before and after; None if it did not exist, or that is unknown."""

    kind: Literal["add", "remove", "context"]
    text: str
    old: int | None = None
    new: int | None = None

    @property
    def sign(self) -> str:
        """The line's sign in a diff."""
        return {"add": "+", "remove": "\N{MINUS SIGN}", "context": ""}[self.kind]


@dataclass(frozen=True, slots=True)
class Hunk:
    """A group of lines. `header` is the diff's text for the place, such as a function's name."""

    header: str
    lines: tuple[DiffLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """The changes of one file.

    Attributes:
        path: The file's path after the change.
        change: `add`, `edit`, `delete` or `move`.
        moved_from: The path before a move.
        hunks: The shown hunks.
        added, removed: The numbers of all added and removed lines.
    """

    path: str
    change: Change = "edit"
    moved_from: str = ""
    hunks: tuple[Hunk, ...] = ()
    added: int = 0
    removed: int = 0


def parse_diff(text: str, *, strict: bool = False) -> tuple[list[FileDiff], int]:
    """The files of a diff, and how many of its lines are not shown.

    A text that is not a diff has no files. With `strict`, a diff with lines outside of its files has none either.
    """
    reader = _Reader()
    for line in text.split("\n"):
        reader.take(line)
    return ([], 0) if strict and reader.skipped else (reader.end(), reader.left_out)


def replaced(path: str, old: str, new: str) -> FileDiff:
    """A diff of two texts whose place in the file is unknown, so its lines have no numbers."""
    before, after = (laid_out(text) for text in (old, new))
    lines = [DiffLine("remove", line) for line in _lines(before.text)]
    lines += [DiffLine("add", line) for line in _lines(after.text)]
    added, removed = (len(_lines(each.text)) + each.left_out for each in (after, before))
    return FileDiff(path=path, hunks=(Hunk("", tuple(lines)),), added=added, removed=removed)


def _lines(text: str) -> list[str]:
    return text.split("\n") if text else []


class _Reader:
    """Reads a diff. A hunk's count of lines determines its end, so a removed line `-- x` is not a header."""

    def __init__(self) -> None:
        self._files: list[FileDiff] = []
        self._hunks: list[Hunk] = []
        self._lines: list[DiffLine] = []
        self._header = ""
        self._room, self._characters = MOST_LINES, MOST_CHARACTERS
        self.skipped = False
        self.left_out = 0
        self._added = self._removed = 0
        self._old = self._new = self._old_left = self._new_left = 0
        self._old_path = ""

    def take(self, line: str) -> None:
        if self._old_left > 0 or self._new_left > 0:
            self._take_content(line)
        elif hunk := _HUNK.match(line):
            self._begin_hunk(hunk)
        elif line.startswith("--- "):
            self._old_path = _path(line)
        elif line.startswith("+++ "):
            self._begin_file(_path(line))
        elif line and not line.startswith(_BETWEEN):
            self.skipped = True

    def end(self) -> list[FileDiff]:
        self._end_file()
        return self._files

    def _begin_file(self, path: str) -> None:
        self._end_file()
        if path == _NOWHERE:
            self._files.append(FileDiff(path=self._old_path, change="delete"))
        else:
            self._files.append(FileDiff(path=path, change="add" if self._old_path == _NOWHERE else "edit"))
        self._old_path = ""

    def _begin_hunk(self, found: re.Match[str]) -> None:
        self._end_hunk()
        if not self._files:
            self._files.append(FileDiff(path=""))
        self._old, self._new = int(found[1]), int(found[3])
        self._old_left, self._new_left = (1 if found[at] is None else int(found[at]) for at in (2, 4))
        self._header = visible_line(found[5])
        # Line 0 before the change means a new file, and line 0 after it a deleted one.
        file = self._files[-1]
        if file.change == "edit" and not self._hunks:
            if (self._old, self._old_left) == (0, 0):
                self._files[-1] = replace(file, change="add")
            elif (self._new, self._new_left) == (0, 0):
                self._files[-1] = replace(file, change="delete")

    def _take_content(self, line: str) -> None:
        sign = line[:1]
        if sign == "\\":  # "No newline at end of file"
            return
        if self._room > 0:
            match sign:
                case "+":
                    self._lines.append(DiffLine("add", line[1:], None, self._new))
                case "-":
                    self._lines.append(DiffLine("remove", line[1:], self._old, None))
                case _:
                    self._lines.append(DiffLine("context", line[1:], self._old, self._new))
        else:
            self.left_out += 1
        if sign == "+":
            self._added += 1
        else:
            self._old, self._old_left = self._old + 1, self._old_left - 1
        if sign == "-":
            self._removed += 1
        else:
            self._new, self._new_left = self._new + 1, self._new_left - 1

    def _end_hunk(self) -> None:
        shown: list[DiffLine] = []
        for (_, is_blank), run in groupby(self._lines, key=_kind_and_blankness):
            lines = list(run)
            show: Callable[[str], str] = visible
            if is_blank and (many := visible_blank_lines(len(lines))):
                if any(line.text for line in lines):
                    show = visible_line
                else:
                    lines, show = [replace(lines[0], text=many)], str
            for line in lines:
                self._show(shown, line, show)
        if shown:
            self._hunks.append(Hunk(self._header, tuple(shown)))
        self._lines = []

    def _show(self, shown: list[DiffLine], line: DiffLine, show: Callable[[str], str]) -> None:
        if self._room <= 0 or self._characters < 0:
            self.left_out += 1
            return
        text = show(line.text)
        self.left_out += len(text) > self._characters
        shown.append(replace(line, text=text[: self._characters]))
        self._room -= 1
        self._characters -= len(text)

    def _end_file(self) -> None:
        self._end_hunk()
        if self._added or self._removed or self._hunks:
            self._files[-1] = replace(
                self._files[-1], hunks=tuple(self._hunks), added=self._added, removed=self._removed
            )
        self._hunks, self._added, self._removed = [], 0, 0


def _kind_and_blankness(line: DiffLine) -> tuple[str, bool]:
    return line.kind, not line.text.strip(" \t")


def _path(line: str) -> str:
    """The path in a line such as `--- a/some/path<tab>a date`."""
    return line[4:].split("\t", maxsplit=1)[0]
