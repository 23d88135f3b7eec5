"""What tests tell as they run is seen at the end, by whatever processes they are run."""

from __future__ import annotations

import pytest
from selection import sample

TESTS = """
    import pytest

    @pytest.mark.parametrize("what", ["two", "one"])
    def test_something(what, record_property):
        record_property("simulator", f"{what}: 3 states")
        record_property("states", 3)
"""


@pytest.mark.parametrize("arguments", sample([("-p", "no:xdist"), ("-n", "2")]), ids=["alone", "xdist"])
def test_lines_that_tests_tell_are_sorted_at_the_end_of_the_run(pytester, arguments):
    pytester.makepyfile(TESTS)
    ran = pytester.runpytest("-q", "-p", "fix_summary", *arguments)
    ran.assert_outcomes(passed=2)
    ran.stdout.re_match_lines_random([r"=+ simulator =+"])
    shown = [line for line in ran.outlines if "states" in line]
    assert shown == ["one: 3 states", "two: 3 states"]


def test_nothing_is_told_where_no_test_does(pytester):
    pytester.makepyfile("def test_nothing(record_property): record_property('states', 3)")
    ran = pytester.runpytest("-q", "-p", "fix_summary", "-p", "no:xdist")
    ran.assert_outcomes(passed=1)
    assert "simulator" not in ran.stdout.str()
