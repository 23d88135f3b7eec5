"""A program that is missing skips its tests, the summary names it with the remedy, and in CI it is a failure."""

from __future__ import annotations

import pytest
from selection import sample

TESTS = """
    from fix_programs import find_program

    def test_one():
        find_program("no-such-program", "nor-such")

    def test_two():
        find_program("no-such-program")

    def test_three():
        assert find_program("no-such-program", "sh").endswith("/sh")
"""


@pytest.fixture
def run(pytester, monkeypatch):
    def run(ci, *arguments):
        monkeypatch.setenv("CI", ci)
        pytester.makepyfile(TESTS)
        return pytester.runpytest("-q", "-p", "fix_programs", *arguments)

    return run


@pytest.mark.parametrize("arguments", sample([("-p", "no:xdist"), ("-n", "2")]), ids=["alone", "xdist"])
def test_a_missing_program_skips_its_tests_and_is_named_once_at_the_end(run, arguments):
    ran = run("", *arguments)
    ran.assert_outcomes(passed=1, skipped=2)
    ran.stdout.fnmatch_lines(
        ["*not tested here*", "*2 tests, as no-such-program is not installed", "*sudo tools/*"]
    )


def test_a_missing_program_fails_its_tests_in_ci(run):
    ran = run("true", "-p", "no:xdist")
    ran.assert_outcomes(passed=1, failed=2)
    ran.stdout.fnmatch_lines(["*no-such-program is missing, and tools/install-system has not installed it*"])
