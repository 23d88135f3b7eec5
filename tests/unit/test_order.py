"""Which files of tests go to one worker."""

from __future__ import annotations

import pytest
from fix_order import group_of


@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("tests/browser/test_asks.py", "the browser"),
        ("tests/browser/test_looks.py", "the browser"),
        ("tests/acceptance/test_chat.py", "the command line"),
        ("tests/acceptance/test_doctor.py", "the command line"),
        ("tests/unit/test_ids.py", "tests/unit/test_ids.py"),
        ("tests/acceptance/test_chat_door.py", "tests/acceptance/test_chat_door.py"),
    ],
)
def test_files_that_share_what_is_slow_to_start_go_to_one_worker(file, group):
    assert group_of(file) == group
