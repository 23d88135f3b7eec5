"""What the site makes of its pages.

- A code block that begins with a language and a file's name shows that name.
- The reference of the commands has what the program says of itself.
- `llms.txt` lists the pages, and `llms-full.txt` has their text, for readers that are programs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docs_commands import commands

_COMMANDS = "<!-- commands -->"
_FENCE = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)

_order: list[str] = []
_pages: dict[str, tuple[str, str]] = {}


def on_nav(nav: Any, **_: Any) -> None:
    """Know the order of the pages."""
    _order[:] = [page.url for page in nav.pages]


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Keep a page's title and text; show the names of files, and the commands."""
    if _COMMANDS in markdown:
        markdown = markdown.replace(_COMMANDS, commands())
    heading = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    _pages[page.url] = (heading[1] if heading else page.title, markdown)
    return _FENCE.sub(_named, markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Write both files."""
    site = Path(config.site_dir)
    pages = [(url, *_pages[url]) for url in _order]
    lines = [f"- [{title}]({url}): {_first_sentence(text)}" for url, title, text in pages]
    head = f"# {config.site_name}\n\n> {config.site_description}\n\n## Docs\n\n"
    (site / "llms.txt").write_text(head + "\n".join(lines) + "\n")
    (site / "llms-full.txt").write_text("\n\n".join(text for *_, text in pages))


def _named(fence: re.Match[str]) -> str:
    language, name = fence.groups()
    title = f' title="{name}"' if "." in name else ""  # other names are for the tests that run the code
    return f"```{language}{title}"


def _first_sentence(text: str) -> str:
    for block in text.split("\n\n"):
        if block[:1].isalpha() or block.startswith("`"):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(block.split()))
            return plain.split(". ")[0].rstrip(".:") + "."
    return ""
