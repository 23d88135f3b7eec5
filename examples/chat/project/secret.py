"""A secret key that is made once, and kept in a file that only its owner reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["secret_in"]


def secret_in(path: Path) -> str:
    """The key in this file; if there is none yet, a new one is put there."""
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    made = secrets.token_urlsafe(50)
    with os.fdopen(file, "w", encoding="ascii") as opened:
        opened.write(made)
    return made
