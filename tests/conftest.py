from __future__ import annotations

# One concern a file, in tests/fixtures.
pytest_plugins = ["fix_cli", "fix_client", "fix_postgres", "fix_server", "fix_stores"]
