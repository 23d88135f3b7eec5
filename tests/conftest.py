from __future__ import annotations

import os
import signal

# A server inherits it. Else each new one fetches npm packages for plugins that it does not have (1.18.33).
os.environ["npm_config_offline"] = "true"  # noqa: SIM112 - as npm spells it

# A shell lets its background jobs ignore Ctrl-C, and they pass that on to all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One concern a file, in tests/fixtures.
pytest_plugins = [
    "pytester",
    "fix_cli",
    "fix_client",
    "fix_deletion",
    "fix_postgres",
    "fix_mariadb",
    "fix_processes",
    "fix_pace",
    "fix_runners",
    "fix_server",
    "fix_stores",
    "fix_django_app",
    "fix_django_views",
    "fix_django_logins",
    "fix_django_project",
    "fix_browser",
    "fix_summary",
]
