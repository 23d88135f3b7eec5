"""Plain English in what people read: `make lint` runs it.

It finds sentences of more than 30 words, sentences that begin with a clause ("Who …", "What …", "Where …"), and words
that only this project used for a thing that has a usual name. Code, tables of code and quoted lines are left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 30  # words in a sentence
CLAUSE = re.compile(r"^(Who(?!se)|Whoever|What|Whatever|Where|Wherever)\b(?!.*\?$)")
PRIVATE = {  # word: what to write instead
    r"is believed in": "the lease is valid",
    r"takes? it(s turn)? up by itself": "recovers it",
    r"mends?|mended|mending": "fix, repair, update",
    r"tells? of": "report, list",
    r"beside the request": "in the background",
    r"meanwhile": "in the meantime, or say which time",
    r"by turns": "alternately",
    r"undertakes?|undertaken": "reserve",
    r"holds? for": "apply to, be valid for",
    r"is of (a|another|the) version": "has the version",
    r"goes wrong": "fails",
    r"no more than": "at most",
}
WORDS = [(re.compile(rf"\b({word})\b", re.IGNORECASE), instead) for word, instead in PRIVATE.items()]


def sentences(markdown: str) -> Iterator[tuple[int, str]]:
    """Each sentence of a page, with the number of the line on which its paragraph begins."""
    text = re.sub(
        r"^( *)```.*?^\1```$", lambda code: "\n" * code[0].count("\n"), markdown, flags=re.DOTALL | re.M
    )
    text = re.sub(r"<[^>]+>", "", text)
    line = 1
    for block in re.split(r"(\n\s*\n)", text):
        yield from ((line, said) for part in _parts(block) for said in _split(part))
        line += block.count("\n")


def _parts(block: str) -> Iterator[str]:
    """A paragraph; or each item of a list, each cell of a table."""
    if block.startswith(("    ", "#")):
        return
    if block.lstrip().startswith("|"):
        yield from block.replace("\n", "|").split("|")
    else:
        yield from re.split(r"^\s*(?:[-*]|\d+\.)\s", block, flags=re.M)


def _split(text: str) -> list[str]:
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    plain = re.sub(r"`[^`]*`", "X", plain).replace("*", "")
    return re.split(r"(?<=[.!?:;])\s+", " ".join(plain.split()))


def faults(path: Path) -> Iterator[str]:
    """What is to be said otherwise, as `file:line: what`."""
    for line, sentence in sentences(path.read_text(encoding="utf-8")):
        words = len(re.findall(r"\w[\w'’-]*", sentence))
        if words > LONGEST:
            yield f"{path}:{line}: {words} words: {sentence}"
        if CLAUSE.match(sentence):
            yield f"{path}:{line}: begins with a clause: {sentence}"
        for word, instead in WORDS:
            if found := word.search(sentence):
                yield f"{path}:{line}: {found[0]!r} ({instead}): {sentence}"


if __name__ == "__main__":
    found = [fault for name in sys.argv[1:] for fault in faults(Path(name))]
    print("\n".join(found))
    sys.exit(bool(found))
