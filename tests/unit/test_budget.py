"""Tests marked `full` that have not begun in time are left out, and the end of the run says so."""

from __future__ import annotations

import pytest
from selection import sample

TESTS = """
    import pytest

    def test_quick():
        pass

    @pytest.mark.full
    def test_long():
        pass
"""


@pytest.fixture
def run(pytester):
    pytester.makeini("[pytest]\nmarkers = full")
    pytester.makepyfile(TESTS)
    return lambda *arguments: pytester.runpytest("-q", "-p", "fix_budget", *arguments)


@pytest.mark.parametrize("arguments", sample([("-p", "no:xdist"), ("-n", "2")]), ids=["alone", "xdist"])
def test_a_test_that_comes_too_late_is_left_out_and_counted(run, arguments):
    ran = run("--full-within", "0", *arguments)
    ran.assert_outcomes(passed=1, skipped=1)
    assert "1 of the tests marked full had not begun after 0 s" in ran.stdout.str()


@pytest.mark.parametrize("arguments", [(), ("--full-within", "1000")])
def test_all_run_in_time_and_where_no_time_is_given(run, arguments):
    ran = run("-p", "no:xdist", *arguments)
    ran.assert_outcomes(passed=2)
    assert "left out" not in ran.stdout.str()
