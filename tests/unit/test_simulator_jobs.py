"""Promises 5, 7, 9 and 12 of turns that two processes run beside requests, in every interleaving; see `simulator.jobs`.

Somewhere on a way one process may die. In the scenarios of `VAST` ways are drawn by chance. With `SIM=full` in the
environment (`make simulate`) those are explored, too, and the database may also fail once.
"""

from __future__ import annotations

import functools
import os
from dataclasses import replace

import pytest
from selection import sample
from simulator.jobs.explore import JobExploration, JobSubject
from simulator.jobs.mutants import ENDLESS, LOOKS_ONCE, MUTANTS
from simulator.jobs.scenarios import JOBS, VAST
from simulator.jobs.server import AskingServerOfV2

FULL = os.environ.get("SIM") == "full"
QUICK = ("a turn that cannot be made", "one turn is enqueued twice", "a turn is watched")


ON_V2 = JobSubject(server=AskingServerOfV2)


@functools.cache
def explored(scenario, crashes):
    return JobExploration({**JOBS, **VAST}[scenario], crashes=crashes).run()


@pytest.mark.timeout(3600 if FULL else 600)
@pytest.mark.parametrize("scenario", sample([*JOBS, *(VAST if FULL else ())], *QUICK))
def test_two_processes_that_run_turns_keep_the_promises_wherever_one_dies(scenario, record_property):
    found = explored(scenario, 1)
    assert found.violation is None, found.violation
    record_property("simulator", f"{scenario}: {found}")
    assert found.schedules > found.faultless > 0


@pytest.mark.full
@pytest.mark.parametrize("scenario", VAST)
def test_schedules_of_larger_scenarios_drawn_by_chance_keep_the_promises(scenario, record_property):
    drawn = JobExploration(VAST[scenario], crashes=1).draw(ways=5_000 if FULL else 100, seed=1)
    assert drawn.violation is None, drawn.violation
    record_property("simulator", f"{scenario}: {drawn}")
    assert drawn.ways > drawn.faulty > drawn.ways / 4


@pytest.mark.timeout(3600 if FULL else 600)
@pytest.mark.parametrize("scenario", sample(JOBS))
def test_turns_keep_the_promises_wherever_the_database_fails_once(scenario, record_property):
    exploration = JobExploration(JOBS[scenario], crashes=0, fails=True)
    found = exploration.run() if FULL else exploration.draw(ways=100, seed=1)
    assert found.violation is None, found.violation
    record_property("simulator", f"{scenario}, and the database fails: {found}")


@pytest.mark.parametrize("scenario", sample({**JOBS, **VAST}, "a turn asks"))
def test_turns_that_processes_run_on_a_server_of_the_2_x_line_keep_the_promises(scenario, record_property):
    """On ways drawn by chance."""
    exploration = JobExploration({**JOBS, **VAST}[scenario], ON_V2, crashes=1)
    drawn = exploration.draw(ways=5_000 if FULL else 25, seed=1)
    assert drawn.violation is None, drawn.violation
    record_property("simulator", f"2.x: {scenario}: {drawn}")


@pytest.mark.full
@pytest.mark.parametrize("mutant", ["fails in two writes", "parks without a look", "lets nobody in"])
def test_the_simulator_catches_on_both_lines_dispatching_that(mutant):
    subject, scenario, crashes, promise = MUTANTS[mutant]
    subject = replace(subject, server=AskingServerOfV2)
    found = JobExploration(JOBS[scenario], subject, crashes=crashes).draw(ways=1_000, seed=1)
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1] == f"BROKEN: {promise}", found.violation


def test_a_turn_that_others_wait_for_is_not_caught_between_two_writes():
    """The schedule by which the simulator found it: the second turn parked behind one that never ran."""
    subject, scenario, crashes, promise = MUTANTS["fails in two writes"]
    found = JobExploration(JOBS[scenario], subject, crashes=crashes).run()
    assert found.violation.splitlines()[-5:] == [
        "A2: finish(1, failed in epoch 0) → True",
        "A2: over(TurnJob, None, None) → None",
        "B2: over(TurnJob, None, None) → None",
        "the leases run out",
        f"BROKEN: {promise}",
    ]


@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_simulator_catches_dispatching_that(mutant):
    subject, scenario, crashes, promise = MUTANTS[mutant]
    found = JobExploration(JOBS[scenario], subject, crashes=crashes).run()
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1] == f"BROKEN: {promise}", found.violation


@pytest.mark.full
def test_a_long_lease_written_after_an_answer_is_caught_where_the_answer_is_not_dispatched():
    found = JobExploration(JOBS["a turn asks"], LOOKS_ONCE, crashes=0, fails=True).run()
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1] == f"BROKEN: {ENDLESS}", found.violation


@pytest.mark.full
@pytest.mark.parametrize("scenario", ["a turn that cannot be made", "a turn is watched"])
def test_merging_workers_that_go_on_alike_loses_no_schedule(scenario):
    merged = explored(scenario, 1)
    unmerged = JobExploration(JOBS[scenario], crashes=1, merging=False).run()
    assert (merged.schedules, merged.faultless) == (unmerged.schedules, unmerged.faultless)
    assert merged.longest == unmerged.longest
