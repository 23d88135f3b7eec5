"""Cards of tools that work on files: what was read, written, changed and found."""

from __future__ import annotations

import re
from dataclasses import replace

from opencode_sessions.display.coerce import (
    MOST_CHARACTERS,
    MOST_ITEMS,
    MOST_LINES,
    Cut,
    Json,
    cut,
    entries,
    laid_out,
    number,
    objects,
    one_line,
    pretty,
    section,
)
from opencode_sessions.display.tools.calls import Call
from opencode_sessions.display.tools.cards import Detail, Diff, FileContent, Listing, Match, Matches, Output
from opencode_sessions.display.tools.diffs import FileDiff, parse_diff, replaced
from opencode_sessions.display.tools.paths import language_of, short
from opencode_sessions.protocol.plain import said

__all__ = ["asked", "diff", "listing", "matches", "output", "read", "written"]

_NOTHING_FOUND = "No files found"
_TRUNCATED = "(Result"  # glob's and grep's last line, where there is more
_MATCH = re.compile(r"  Line (\d{1,9}): (.*)")


def read(call: Call) -> Detail | None:
    """A file's lines, or a folder's entries."""
    shown = section(call.metadata, "display")
    if shown.get("type") == "directory":
        names = entries(shown.get("entries"))
        total = max(number(shown.get("totalEntries")) or 0, len(names))
        return Listing(entries=tuple(one_line(name) for name in names[:MOST_ITEMS]), total=total)
    if shown.get("type") != "file":
        return output(call)
    return _content(
        call.path(),
        cut(said(shown.get("text"))),
        first_line=number(shown.get("lineStart")) or 1,
        total=number(shown.get("totalLines")),
    )


def written(call: Call) -> FileContent | None:
    """The new content of a file, once the model has written it."""
    if "content" not in call.given:
        return None
    return _content(call.path(), laid_out(call.said("content")))


def _content(path: str, shown: Cut, *, first_line: int = 1, total: int | None = None) -> FileContent:
    return FileContent(
        path=path,
        text=shown.text,
        language=language_of(path),
        first_line=first_line,
        total=total,
        left_out=shown.left_out,
    )


def diff(call: Call) -> Detail | None:
    """The changes that were made; before that, those that will be made."""
    told = objects(call.told("files"))
    files = [_patched(file, call.root) for file in told[:MOST_ITEMS]]
    if any(file.hunks or file.change == "move" for file in files):
        counts = (
            number(file.get(name)) or 0 for file in told[MOST_ITEMS:] for name in ("additions", "deletions")
        )
        return _bounded(files, sum(counts))
    found, left_out = parse_diff(said(call.told("diff")))
    if found:
        left_out += sum(len(hunk.lines) for file in found[MOST_ITEMS:] for hunk in file.hunks)
        shown = (replace(file, path=short(file.path, call.root)) for file in found[:MOST_ITEMS])
        return Diff(files=tuple(shown), left_out=left_out)
    if call.said("patchText"):
        return (
            _content("", laid_out(call.said("patchText"))) if call.state in ("waiting", "running") else None
        )
    edits = objects(call.given.get("edits")) or [call.given]
    planned = [
        replaced(call.path(), said(edit.get("oldString")), said(edit.get("newString"))) for edit in edits
    ]
    return _bounded(planned) if any(file.added or file.removed for file in planned) else None


def asked(metadata: Json, root: str) -> Diff | None:
    """The diff in the metadata of a permission, if it is a diff to its last line."""
    found, left_out = parse_diff(said(metadata.get("diff")), strict=True)
    files = tuple(replace(file, path=short(file.path, root, MOST_CHARACTERS)) for file in found[:MOST_ITEMS])
    return Diff(files=files, left_out=left_out + len(found[MOST_ITEMS:])) if files else None


def _patched(file: Json, root: str) -> FileDiff:
    """One file of `apply_patch`."""
    found, _ = parse_diff(said(file.get("patch")))
    before, moved = (short(said(file.get(name)), root) for name in ("filePath", "movePath"))
    change = replace(found[0], path=before) if found else FileDiff(path=before)
    return replace(change, path=moved, moved_from=before, change="move") if moved else change


def _bounded(files: list[FileDiff], beyond: int = 0) -> Diff:
    """Cut the files so that all together have at most as many lines as one may have; `beyond` counts further lines."""
    room, left_out, shown = MOST_LINES, 0, []
    for file in files[:MOST_ITEMS]:
        hunks = []
        for hunk in file.hunks:
            kept = hunk.lines[:room]
            left_out += len(hunk.lines) - len(kept)
            room -= len(kept)
            hunks += [replace(hunk, lines=kept)] if kept else []
        shown.append(replace(file, hunks=tuple(hunks)))
    counted = sum(file.added + file.removed for file in files)
    seen = sum(line.kind != "context" for file in shown for hunk in file.hunks for line in hunk.lines)
    return Diff(files=tuple(shown), left_out=max(left_out, counted - seen) + beyond)


def listing(call: Call) -> Listing | None:
    """The files that a pattern found."""
    if call.state != "done":
        return None
    lines = [line for line in call.output.split("\n") if line and not line.startswith(_TRUNCATED)]
    found = [line for line in lines if line != _NOTHING_FOUND]
    return Listing(
        entries=tuple(short(line, call.root) for line in found[:MOST_ITEMS]),
        total=len(found),
        more=call.told("truncated") is True,
    )


def matches(call: Call) -> Matches | None:
    """The lines that a pattern found."""
    if call.state != "done":
        return None
    found: list[Match] = []
    count, path = 0, ""
    for line in call.output.split("\n"):
        if match := _MATCH.fullmatch(line):
            count += 1
            if count <= MOST_ITEMS:
                found.append(Match(short(path, call.root), int(match[1]), cut(match[2]).text))
        elif line.endswith(":"):
            path = line[:-1]
    total = max(number(call.told("matches")) or 0, count)
    return Matches(matches=tuple(found), total=total, more=call.told("truncated") is True)


def output(call: Call) -> Output | None:
    """The tool's result as it is."""
    shown = cut(pretty(call.output))
    return Output(text=shown.text, left_out=shown.left_out) if shown.text else None
