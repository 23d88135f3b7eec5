"""What 200,000 characters of Markdown cost to render: a document, and texts that are made to be slow."""

from __future__ import annotations

import time
from pathlib import Path

from hostile_texts import FAMILIES

from opencode_sessions.display.markdown import render_markdown

_SIZE = 200_000
_DOCUMENT = (Path(__file__).parent.parent / "docs/turns.md").read_text()
_SLOW = ("http://a. again", "a:// again", "![ again", "lazy lines of a deep quote", "wide tables", "* again")


def measure() -> list[tuple[str, ...]]:
    render_markdown("the first time makes the renderer")
    texts = {"a document": (_DOCUMENT * (_SIZE // len(_DOCUMENT) + 1))[:_SIZE]}
    texts |= {name: FAMILIES[name](_SIZE)[:_SIZE] for name in _SLOW}
    rows = [("text", "first", "again", "as")]
    for name, text in texts.items():
        first, html = _timed(text)
        again, _ = _timed(text)
        rows.append(
            (name, f"{first:.2f} s", f"{again * 1e3:.2f} ms", "written" if "oc-plain" in html else "Markdown")
        )
    return rows


def _timed(text: str) -> tuple[float, str]:
    began = time.perf_counter()
    html = render_markdown(text)
    return time.perf_counter() - began, html
