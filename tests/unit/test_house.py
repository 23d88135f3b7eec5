"""The house rules that no linter knows."""

from __future__ import annotations

from pathlib import Path

import pytest

import opencode_sessions

PACKAGE = Path(opencode_sessions.__file__).parent


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_file_is_over_four_hundred_lines(path):
    assert len(path.read_text().splitlines()) <= 400, "it has a second subject: split it"


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()
