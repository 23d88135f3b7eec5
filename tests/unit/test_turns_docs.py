"""docs/turns.md: its table of deadlines says what is so, and its settings can be made."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from opencode_sessions import Deadlines
from opencode_sessions.host import HostSettings

PAGE = (Path(__file__).parents[2] / "docs" / "turns.md").read_text()
SECTION = PAGE.partition("## Deadlines")[2].partition("\n## ")[0]


def test_the_table_of_deadlines_has_every_field_and_its_default():
    said = re.findall(r"^\| `(\w+)` \| (\d+) \|", SECTION, re.MULTILINE)
    assert dict(said) == {field.name: f"{field.default:.0f}" for field in fields(Deadlines)}


def test_the_settings_for_development_have_a_short_lease():
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    names = {"HostSettings": HostSettings, "Deadlines": Deadlines}
    exec(compile(code, "turns.md", "exec"), names)  # noqa: S102 - our own docs
    assert names["settings"].turn_options(None)["deadlines"].lease == 15
