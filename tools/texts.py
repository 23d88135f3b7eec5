# ruff: noqa: INP001, T201 - a script, which prints what it finds
"""The catalogues of texts: `make texts` brings them up to date with the source.

It finds the texts in the library's Python, templates and scripts, and for each language it

1. adds what is missing to `django.po`, with an empty translation, and removes what is not in the source any more;
2. compiles `django.mo`, which is committed: a wheel, a checkout and an editable install need no compiler.

    python tools/texts.py          # all languages that there are
    python tools/texts.py fr       # and a new one

A test fails if a text is missing, has no translation, has other places, or if a `.mo` is not what its `.po` says.
"""

from __future__ import annotations

import ast
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "opencode_sessions"
LOCALE = SOURCE / "django" / "locale"

_TAG = re.compile(r'\{% (opencode_text|opencode_counted) ("[^"]*")(?: ("[^"]*"))?')
_CALL = re.compile(r'(?<![\w.])text\("([^"]*)"')
_ENTRY = re.compile(r'^(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) "(.*)"$|^"(.*)"$')
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


class Message(NamedTuple):
    """A text: its context, and the plural form if it has one."""

    context: str
    one: str
    many: str = ""


Catalogue = dict[Message, list[str]]


def main(new: list[str]) -> int:
    """Bring the catalogues up to date; 1 if translations are missing."""
    missing = 0
    for name in sorted({*new, *languages()}):
        wanted = sorted(set(texts()))
        path = LOCALE / name / "LC_MESSAGES" / "django.po"
        path.parent.mkdir(parents=True, exist_ok=True)
        header, known = read(path) if path.exists() else (_HEADER.format(name=name), {})
        kept = {each: known.get(each) or [""] * (2 if each.many else 1) for each in wanted}
        write(path, header, kept)
        compile_catalogue(path)
        empty = [each for each, found in kept.items() if not all(found)]
        missing += len(empty)
        print(f"{name}: {len(kept)} texts", *(f"  no translation: {each}" for each in empty), sep="\n")
    return bool(missing)


def languages() -> list[str]:
    """Those that there are catalogues of."""
    return [path.parent.parent.name for path in LOCALE.glob("*/LC_MESSAGES/django.po")]


def texts() -> Iterator[Message]:
    """All that the library shows."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield from of_python(path.read_text(encoding="utf-8"))
    for path in sorted(SOURCE.rglob("*.html")):
        yield from of_template(path.read_text(encoding="utf-8"))
    for path in sorted(SOURCE.rglob("*.js")):
        yield from (Message("opencode", found) for found in _CALL.findall(path.read_text(encoding="utf-8")))
    yield from of_tools()


def of_python(source: str) -> Iterator[Message]:
    """The literals that are given to `text`, `counted` and `later`, under whatever name they are imported."""
    tree = ast.parse(source)
    names = {
        each.asname or each.name: each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith(".texts")
        for each in node.names
    }
    names |= {node.name: node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, *given = (node.func, *node.args)
        if isinstance(called, ast.Name) and called.id == "partial":
            called, *given = given
        name = names.get(called.id, "") if isinstance(called, ast.Name) else ""
        context = next((ast.unparse(each.value) for each in node.keywords if each.arg == "context"), "")
        literals = [each.value for each in given if isinstance(each, ast.Constant)]
        if name in ("text", "text_lazy", "later") and literals and isinstance(given[0], ast.Constant):
            yield Message(f"opencode {context.lower()}".strip(), str(literals[0]))
        elif name == "counted" and len(literals) > 1:
            yield Message("opencode", str(literals[0]), str(literals[1]))


def of_template(source: str) -> Iterator[Message]:
    """Those of our two tags."""
    for tag, one, many in _TAG.findall(source):
        yield Message("opencode", one.strip('"'), many.strip('"') if tag == "opencode_counted" else "")


def of_tools() -> Iterator[Message]:
    """The verbs of the tools: "Could not read" is made of "read"."""
    from opencode_sessions.display.tools import registry  # noqa: PLC0415 - only here is the library needed

    others = (registry._OF_SERVER, registry._OTHER)  # noqa: SLF001 - of tools that are not known
    for kind in (*registry.TOOLS.values(), *others):
        yield Message("opencode", kind.doing)
        yield Message("opencode done", kind.done)
        for how in ("Could not", "Did not", "Wants to", "About to"):
            yield Message("opencode", f"{how} {kind.do}")
        yield Message("opencode ask", kind.do[:1].upper() + kind.do[1:])


def read(path: Path) -> tuple[str, Catalogue]:
    """The header of a `.po`, with its comments, and its entries; each on one line, or on several."""
    header, entries = [], {}
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if found := _ENTRY.match(line):
                name = found[1] or name
                fields[name] = fields.get(name, "") + _plain(found[2] if found[1] else found[3])
        if not fields.get("msgid"):
            header.append(block)
            continue
        message = Message(fields.get("msgctxt", ""), fields["msgid"], fields.get("msgid_plural", ""))
        entries[message] = [fields[each] for each in sorted(fields) if each.startswith("msgstr")]
    return "\n\n".join(header), entries


def write(path: Path, header: str, entries: Catalogue) -> None:
    """The same as a file."""
    blocks = [header]
    for message in sorted(entries):
        lines = [f'msgctxt "{_quoted(message.context)}"', f'msgid "{_quoted(message.one)}"']
        if message.many:
            lines.append(f'msgid_plural "{_quoted(message.many)}"')
            lines += [f'msgstr[{place}] "{_quoted(each)}"' for place, each in enumerate(entries[message])]
        else:
            lines.append(f'msgstr "{_quoted(entries[message][0])}"')
        blocks.append("\n".join(lines))
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def compile_catalogue(path: Path) -> None:
    """Write the `.mo` beside a `.po`: https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html."""
    path.with_suffix(".mo").write_bytes(compiled(path))


def compiled(path: Path) -> bytes:
    """What that file has."""
    header, entries = read(path)
    about = "".join(
        _plain(found[3]) for line in header.splitlines() if (found := _ENTRY.match(line)) and not found[1]
    )
    pairs = {b"": about.encode()}
    for message, found in entries.items():
        if all(found):
            key = f"{message.context}\x04{message.one}" if message.context else message.one
            pairs["\0".join(filter(None, [key, message.many])).encode()] = "\0".join(found).encode()
    keys = sorted(pairs)
    texts_at = 28 + 16 * len(keys)
    table, said = [], b""
    for part in (keys, [pairs[key] for key in keys]):
        for each in part:
            table += [len(each), texts_at + len(said)]
            said += each + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, texts_at)
    return head + struct.pack(f"<{len(table)}I", *table) + said


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)


def _quoted(value: str) -> str:
    return "".join(_ESCAPES.get(each, each) for each in value)


_HEADER = '''# The texts of opencode-sessions. `make texts` adds what is missing.
#
# "en" is the code of this language, as it stands in HTML. "1,234.5" says how this language writes that number.
msgid ""
msgstr ""
"Language: {name}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"'''


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
