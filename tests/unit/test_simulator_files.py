"""Promise 9 of the files of turns, in every interleaving of those who collect them; see `simulator.files`.

Somewhere on a way one worker may die, or one call fail. With `SIM=full` in the environment (`make simulate`) both may
happen on one way.
"""

from __future__ import annotations

import functools
import os

import pytest
from selection import sample
from simulator.files.explore import FilesExploration
from simulator.files.mutants import MUTANTS
from simulator.files.scenarios import FILES

FULL = os.environ.get("SIM") == "full"


@functools.cache
def explored(scenario, faults):
    return FilesExploration(FILES[scenario], faults=faults).run()


@pytest.mark.timeout(3600 if FULL else 600)
@pytest.mark.parametrize("scenario", sample(FILES, "two collect"))
def test_every_interleaving_attaches_each_file_once_or_reports_it(scenario, record_property):
    found = explored(scenario, 1 + FULL)
    assert found.violation is None, found.violation
    record_property("simulator", f"{scenario}: {found}")
    assert found.schedules > found.faultless > 0


@pytest.mark.parametrize("mutant", sample(MUTANTS, "discards what may be committed"))
def test_the_simulator_catches_collecting_that(mutant):
    subject, scenario, promise = MUTANTS[mutant]
    found = FilesExploration(FILES[scenario], subject, faults=1).run()
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1] == f"BROKEN: {promise}", found.violation


@pytest.mark.full
def test_merging_collectors_that_go_on_alike_loses_no_schedule():
    merged = explored("one collects, one deletes", 1)
    unmerged = FilesExploration(FILES["one collects, one deletes"], faults=1, merging=False).run()
    assert (merged.schedules, merged.faultless) == (unmerged.schedules, unmerged.faultless)
    assert merged.longest == unmerged.longest
