"""The name of this command as the person typed it, so that printed commands can be copied, also from a `.venv`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

__all__ = ["COMMAND", "command"]

COMMAND = "opencode-sessions"


def command() -> str:
    """`opencode-sessions` if that is on PATH, else the path by which it was started."""
    started = Path(sys.argv[0])
    if shutil.which(COMMAND) or started.name != COMMAND:
        return COMMAND
    here = Path.cwd()
    return str(started.relative_to(here) if started.is_relative_to(here) else started)
