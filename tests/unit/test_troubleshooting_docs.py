"""docs/troubleshooting.md names every error that is raised, and no error that is not."""

from __future__ import annotations

import re
from pathlib import Path

from opencode_sessions import errors
from opencode_sessions.files import errors as file_errors

TABLES = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text().partition("## By error")[2]
GROUPS = {
    "OpencodeError",
    "RecordError",
    "TurnError",
    "TurnTimeoutError",
    "WireError",
    "StatusError",
    "FileError",
}
"""Only what is below them is raised."""


def test_every_error_has_its_line():
    named = {
        name
        for line in TABLES.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+Error)`", line.split("|")[1])
    }
    raised = {name for name in [*errors.__all__, *file_errors.__all__] if name.endswith("Error")}
    assert named == raised - GROUPS
