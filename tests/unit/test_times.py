"""`make test-times` counts what tests, fixtures, files and programs took."""

from __future__ import annotations

import json

import pytest
from selection import sample

TESTS = """
    import subprocess
    import time
    import pytest

    @pytest.fixture
    def inner():
        time.sleep(0.2)

    @pytest.fixture
    def outer(inner):
        subprocess.run(["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"])

    def test_one(outer):
        time.sleep(0.1)

    def test_two(inner):
        pass
"""


@pytest.mark.parametrize("arguments", sample([("-p", "no:xdist"), ("-n", "1")]), ids=["alone", "xdist"])
def test_the_time_of_tests_fixtures_and_programs_is_counted_where_it_was_spent(pytester, arguments):
    path = pytester.makepyfile(TESTS)
    ran = pytester.runpytest("-q", "-p", "fix_times", "--times=times.json", *arguments)
    ran.assert_outcomes(passed=2)
    found = json.loads((pytester.path / "times.json").read_text())
    one = found["tests"][f"{path.name}::test_one"]
    assert one["setup"] >= 0.2 + found["fixtures"]["outer"]
    assert one["call"] >= 0.1
    assert one["servers"] > 0
    assert found["fixtures"]["inner"] >= 0.4
    assert found["files"][path.name]["tests"] == 2
    assert found["programs"]["sh"] > 0
    ran.stdout.fnmatch_lines(
        ["*times: processor seconds by program*", "*times: by fixture*", "*times: files*"]
    )
