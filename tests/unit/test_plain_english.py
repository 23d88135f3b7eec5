"""`tools/plain_english.py` finds what it is for, and leaves code and names alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "plain_english.py"


def check(path, text):
    path.write_text(text)
    return subprocess.run([sys.executable, str(TOOL), str(path)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# Title\n\n" + "word " * 31 + ".\n", ":3: 31 words:"),
        ("A list:\n\n- What is stored here is never read.\n", ":3: a clause as the subject:"),
        ("| one | two |\n|---|---|\n| a | Who waits is served. |\n", ":1: a clause as the subject:"),
        ("Another worker takes it up.\n", ':1: "takes it up", say recover, resume or support:'),
    ],
)
def test_a_fault_is_found_with_its_file_and_line(tmp_path, text, says):
    done = check(tmp_path / "page.md", text)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{tmp_path / 'page.md'}{says}")


def test_questions_code_and_titles_are_left_alone(tmp_path):
    text = "# Who waits\n\nWhat is a turn?\n\n```python\n# What is stored here\n```\n\nThe call `he` ends.\n"
    done = check(tmp_path / "page.md", text)
    assert (done.returncode, done.stdout) == (0, "plain English: nothing found\n")
