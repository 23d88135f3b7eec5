# ruff: noqa: INP001, T201 - a script, which prints what it finds
"""`make lint`: is what people read in plain English?

It finds sentences of more than 30 words, sentences whose subject is a clause ("Who …", "What …"), and words that only
this project uses for a thing that has a usual name. It reads the pages, and leaves out code, links' targets and HTML.

    python tools/plain_english.py [FILE …]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/**/*.md", "examples/**/*.md")
LONGEST = 30  # words in a sentence

CLAUSE = re.compile(r"(Who|Whoever|What|Whatever|Where|Wherever)\b(?!.*\?$)")
WORDS = {  # what only this project says: what to say instead
    r"he|his|him": "the role: the caller, the worker",
    r"(?:is |are )?believed in": "valid",
    r"mend(?:s|ed|ing)?": "fix, repair or update",
    r"meanwhile": "in the meantime, or until when",
    r"by turns": "alternately",
    r"beside the request": "in the background",
    r"t(?:ake|akes|aken|aking|ook)(?: \w+| the \w+)? up": "recover, resume or support",
    r"undertak(?:e|es|en)|(?<!best )efforts?": "reserve, try",
    r"goes wrong": "fails",
    r"tells? of|told of": "report",
    r"the floors?|faces": "layer, the sync and async API",
    r"for ever": "without end, or forever",
    r"\w+ has the last word": "decides",
}
FOUND = [(re.compile(rf"\b(?:{word})\b", re.IGNORECASE), instead) for word, instead in WORDS.items()]


def main(names: list[str]) -> int:
    """Print what is found in these files, or in all pages; the exit code comes back."""
    paths = [Path(name) for name in names] or sorted({path for each in PAGES for path in ROOT.glob(each)})
    faults = [fault for path in paths if "node_modules" not in path.parts for fault in faults_of(path)]
    print("\n".join(faults) or "plain English: nothing found")
    return bool(faults)


def faults_of(path: Path) -> Iterator[str]:
    """Each fault, as `file:line: what: sentence`."""
    for line, sentence in sentences(path.read_text(encoding="utf-8")):
        place = f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line}"
        if (words := len(re.findall(r"\w[\w'-]*", sentence))) > LONGEST:
            yield f"{place}: {words} words: {sentence}"
        if CLAUSE.match(sentence):
            yield f"{place}: a clause as the subject: {sentence}"
        for word, instead in FOUND:
            if said := word.search(sentence):
                yield f'{place}: "{said[0]}", say {instead}: {sentence}'


def sentences(markdown: str) -> Iterator[tuple[int, str]]:
    """Each sentence, and the line on which its paragraph begins: of paragraphs, items of lists, and cells of tables."""
    code = re.compile(r"^( *)```.*?^\1```$|<!--.*?-->|<[^>\n]+>", re.DOTALL | re.MULTILINE)
    text = code.sub(lambda found: "\n" * found[0].count("\n"), markdown)
    for block in re.finditer(r"(?:^(?!#|\s*$| {4,}[^ \-*]).*\n?)+", text, re.MULTILINE):
        pieces = r"\||\n" if block[0].lstrip().startswith("|") else r"^\s*(?:[-*]|\d+\.)\s"
        for piece in re.split(pieces, block[0], flags=re.MULTILINE):
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", piece)
            plain = " ".join(re.sub(r"`[^`]*`", "X", plain).replace("*", "").split())
            line = text.count("\n", 0, block.start()) + 1
            yield from ((line, said) for said in re.split(r"(?<=[.!?:])\s+", plain) if said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
