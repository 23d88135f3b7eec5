r"""Text that a person reads before a decision: nothing is removed from it, and nothing in it is invisible.

The same rules hold for the cards of asks and tools, for titles and for the terminal:

| in the text | shown as |
|---|---|
| unprintable characters: controls, format characters, blanks other than the space, halves of characters | `‹\u202e›` |
| empty printable characters, such as a Hangul filler; the fifth accent on a letter, and those after it | `‹\u3164›` |
| more than 3 of the same of these | `‹9,000 × \u200b›` |
| more than 64 spaces or tabs, one after another | `‹9,000 spaces›` |
| more than 8 blank lines, one after another | `‹9,000 blank lines›` |
| a `‹` that would begin such a mark | `‹\u2039›` |

In a text of several lines, line ends and tabs stay as they are. In a text on one line they are marked, and so are
spaces at its ends. `reveal` gives the text back. No text can imitate a mark, so `pieces` can tell them apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain, groupby

__all__ = ["blank_lines", "pieces", "reveal", "visible", "visible_blank_lines", "visible_line"]

_MOST_BLANKS, _MOST_BLANK_LINES, _MOST_ALIKE, _MOST_ACCENTS = 64, 8, 3, 4

# Fillers, joiners, an empty Braille cell, an empty note, and the selectors of variations.
_EMPTY_ONES = (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x1D159)
_SELECTORS = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_EMPTY = frozenset(map(chr, chain(_EMPTY_ONES, *_SELECTORS)))

_STRANGE = r"‹(?=[\\0-9])|[^\n\t -~‹]+"
_LINE_ENDS = rf"\n{{{_MOST_BLANK_LINES + 2},}}"
_IN_TEXT = re.compile(
    rf"(?P<lines>(?:[ \t]*\n){{{_MOST_BLANK_LINES + 2},}})|(?P<blanks>[ \t]{{{_MOST_BLANKS + 1},}})"
    rf"|(?P<strange>{_STRANGE})"
)
_IN_LINE = re.compile(rf"(?P<blanks>\A +| +\Z| {{{_MOST_BLANKS + 1},}})|(?P<strange>[\n\t]+|{_STRANGE})")
_IN_BLANK_LINES = re.compile(rf"(?P<blanks>[ \t]+)|(?P<line_ends>{_LINE_ENDS})")

_COUNT = "[0-9,]+"
_MARK = re.compile(
    rf"‹(?:({_COUNT}) × )?(\\(?:n|r|t|x[0-9a-f]{{2}}|u[0-9a-f]{{4}}|U[0-9a-f]{{8}}))›"
    rf"|‹({_COUNT}) (space|tab)s?›|\n?‹({_COUNT}) blank lines›\n?"
)
_BLANK_LINES = re.compile(rf"‹({_COUNT}) blank lines›")


def visible(text: str) -> str:
    """A text of several lines, made completely visible."""
    return _IN_TEXT.sub(_marked, text)


def visible_line(text: str) -> str:
    """A text on one line, made completely visible."""
    return _IN_LINE.sub(_marked, text)


def visible_blank_lines(lines: int) -> str:
    """The mark for this many blank lines; empty if they are few enough to be seen."""
    return f"‹{lines:,} blank lines›" if lines > _MOST_BLANK_LINES else ""


def blank_lines(line: str) -> int:
    """How many blank lines a line marks; 0 if it is not such a mark."""
    found = _BLANK_LINES.fullmatch(line)
    return _number(found[1]) if found else 0


def reveal(shown: str) -> str:
    """The original text of a result of `visible` or `visible_line`."""
    return _MARK.sub(_revealed, shown)


def pieces(shown: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a result of `visible` or `visible_line`, each with whether it is a mark."""
    end = 0
    for found in _MARK.finditer(shown):
        mark = found[0].strip("\n")
        start = shown.index(mark, found.start())
        if start > end:
            yield shown[end:start], False
        yield mark, True
        end = start + len(mark)
    if end < len(shown):
        yield shown[end:], False


def _marked(found: re.Match[str]) -> str:
    text = found[0]
    match found.lastgroup:
        case "lines":
            return _IN_BLANK_LINES.sub(_marked, text)
        case "line_ends":
            return _line_ends(text)
        case "blanks":
            names = {" ": "space", "\t": "tab"}
            return "".join(f"‹{count:,} {names[each]}{'s' * (count > 1)}›" for each, count in _runs(text))
    if text == "‹":
        return _mark(text, 1)
    if text.isprintable() and _EMPTY.isdisjoint(text) and "M" not in "".join(map(unicodedata.category, text)):
        return text
    accents, shown = 0, []
    for each, count in _runs(text):
        is_accent = unicodedata.category(each)[0] == "M"
        fine = count if each.isprintable() and each not in _EMPTY else 0
        if is_accent:
            fine = min(fine, max(_MOST_ACCENTS - accents, 0))
        accents = accents + count if is_accent else 0
        shown += [each * fine, _mark(each, count - fine)]
    return "".join(shown)


def _line_ends(text: str) -> str:
    return f"\n{visible_blank_lines(len(text) - 1)}\n"


def _runs(text: str) -> Iterator[tuple[str, int]]:
    return ((each, len(list(run))) for each, run in groupby(text))


def _mark(character: str, count: int) -> str:
    name = character.encode("unicode_escape").decode()
    return f"‹{count:,} × {name}›" if count > _MOST_ALIKE else f"‹{name}›" * count


def _revealed(found: re.Match[str]) -> str:
    count, name, blanks, blank, lines = found.groups()
    if lines:
        return "\n" * (_number(lines) + 1)
    if blank:
        return {"space": " ", "tab": "\t"}[blank] * _number(blanks)
    return name.encode().decode("unicode_escape") * _number(count or "1")


def _number(count: str) -> int:
    return int(count.replace(",", ""))
