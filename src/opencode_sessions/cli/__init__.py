"""The command line: `opencode-sessions chat`, `serve`, `doctor`, `prune`, `recover`, `demo`. One module a command."""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = {"typer", "rich", "sqlalchemy"}


def main() -> None:
    """The console script. Exits 0, 1 (failed), 2 (bad usage) or 130 (cancelled)."""
    try:
        from opencode_sessions.cli.app import app  # noqa: PLC0415 - a missing extra is reported below
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            f"The command line needs {error.name}, which is not installed: "
            "run pip install 'opencode-sessions[cli]'\n"
        )
        raise SystemExit(2) from None
    app()
