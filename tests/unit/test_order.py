"""In which order files of tests go to the workers."""

from __future__ import annotations

import pytest
from fix_order import spread


@pytest.mark.parametrize(
    ("some", "others", "spread_out"),
    [
        ("", "abc", "abc"),
        ("XY", "", "XY"),
        ("XY", "abcd", "XabYcd"),
        ("XYZ", "ab", "XaYbZ"),
    ],
)
def test_files_are_spread_evenly_and_keep_their_order(some, others, spread_out):
    assert "".join(spread(some, others)) == spread_out
