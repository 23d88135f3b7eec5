"""`python -m opencode_sessions.cli`: the console script without its wrapper."""

from __future__ import annotations

from opencode_sessions.cli import main

if __name__ == "__main__":
    main()
