"""What this command is called by whoever typed it: what it prints can then be copied, also from a `.venv`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

__all__ = ["COMMAND", "command"]

COMMAND = "opencode-sessions"


def command() -> str:
    """`opencode-sessions` where that is on PATH, else the path that it was started by."""
    started = Path(sys.argv[0])
    if shutil.which(COMMAND) or started.name != COMMAND:
        return COMMAND
    here = Path.cwd()
    return str(started.relative_to(here) if started.is_relative_to(here) else started)
