"""The prompt of the interactive chat: one line is one message."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console

from opencode_sessions.cli.rendering import PROMPT, one_line

with contextlib.suppress(ModuleNotFoundError):  # not on every platform
    import readline  # noqa: F401 - importing it gives `input` line editing and a history

__all__ = ["LEAVING", "prompts"]

LEAVING = ("/quit", "/exit")


def prompts(console: Console) -> Iterator[str]:
    """The person's messages, until /quit, Ctrl-D or Ctrl-C. Empty lines are ignored.

    Lines from a pipe are shown as if they were typed.
    """
    typed = sys.stdin.isatty() and sys.stdout.isatty()
    while True:
        try:
            line = input(PROMPT if typed else "")
        except (EOFError, KeyboardInterrupt):
            if typed:
                console.print()
            return
        line = line.strip()
        if line in LEAVING:
            return
        if line:
            if not typed:
                console.out(f"{PROMPT}{one_line(line)}", highlight=False)
            yield line
