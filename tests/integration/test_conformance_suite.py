"""The suite notices what is wrong with a store, and says what a bench could not show."""

from __future__ import annotations

import pytest
import sqlalchemy.dialects.mysql
import sqlalchemy.dialects.postgresql  # noqa: F401 - a run in this process forgets what it imports, and these must not be twice
from broken_stores import NOTICED_BY, STORES, InPostgres, broken_bench
from fix_stores import sqlalchemy_urls
from suite_benches import MemoryRows

SUITE = """
from opencode_sessions.testing.conformance import RecordStoreConformance

class TestStore(RecordStoreConformance):
    pass
"""


class Bench:
    """A plugin that brings the suite its bench."""

    def __init__(self, make):
        self._make = make

    @pytest.fixture
    def bench(self):
        bench = self._make()
        yield bench
        bench.close()


@pytest.fixture
def outcomes(pytester):
    """Runs the suite's tests of a name over a bench; the reports of those that passed, were skipped and failed."""

    def outcomes(make, name):
        path = pytester.makepyfile(SUITE)
        # Without hypothesis, which every run in this process would import anew.
        recorded = pytester.inline_run("-p", "no:hypothesispytest", "-k", name, path, plugins=[Bench(make)])
        return recorded.listoutcomes()

    return outcomes


@pytest.mark.parametrize("store", STORES)
def test_the_suite_notices_a_store_that(outcomes, request, store):
    fixture = request.getfixturevalue
    kind = "postgres" if issubclass(STORES[store], InPostgres) else "sqlite"
    url = sqlalchemy_urls(fixture, kind)[0]
    _, _, failed = outcomes(lambda: broken_bench(store, {kind: url}), NOTICED_BY[store])
    assert failed
    assert {report.when for report in failed} == {"call"}


def test_the_suite_says_what_a_bench_could_not_show(pytester):
    path = pytester.makepyfile(SUITE)
    result = pytester.runpytest_inprocess(
        "-p", "no:hypothesispytest", "-rs", path, plugins=[Bench(MemoryRows)]
    )
    assert result.parseoutcomes().keys() == {"passed", "skipped"}
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED *: MemoryRows cannot tell whether something is held (idle)",
            "SKIPPED *: MemoryRows cannot open a transaction of a caller's (open_transaction)",
            "SKIPPED *: MemoryRows cannot be made in another process (recipe)",
            "SKIPPED *: MemoryRows cannot break a connection (breaking)",
            "SKIPPED *: MemoryRows cannot set an isolation level (under SERIALIZABLE)",
            "SKIPPED *: MemoryRows has nothing against an id in two rows (collision)",
        ]
    )
