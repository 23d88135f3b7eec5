"""Promises 1 to 4 and 8 in every interleaving of a few workers; how that works is said in `simulator`.

One worker may be slower than the others' patience with it. In those of two workers, one may die and one call may fail
besides, anywhere; in those of three, one or the other. With `SIM=full` in the environment (`make simulate`) it is both
everywhere, there are larger scenarios, and those of three are explored on the 2.x line, too.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import replace

import pytest
from selection import sample
from simulator import mutants
from simulator.explore import Exploration, Subject
from simulator.scenarios import SCENARIOS, VAST, Scenario, nothing
from simulator.world import SimulatedServerOfV2

FULL = os.environ.get("SIM") == "full"
OF_TWO = [name for name, scenario in SCENARIOS.items() if len(scenario.workers) == 2]
QUICK = ("two ensure", "two recreate", "three delete", "two ensure, one recreates what works")


@functools.cache
def explored(scenario, faults=2):
    return Exploration({**SCENARIOS, **VAST}[scenario], faults=faults).run()


def affordable(scenario):
    """How many faults on one way: of two workers one may die and one call fail; of three or more, either."""
    return 2 if FULL or len(SCENARIOS[scenario].workers) == 2 else 1


@pytest.mark.timeout(1200 if FULL else 600)
@pytest.mark.parametrize("scenario", sample([*SCENARIOS, *(VAST if FULL else ())], *QUICK))
def test_every_interleaving_keeps_the_promises(scenario, record_property):
    found = explored(scenario, affordable(scenario))
    assert found.violation is None, found.violation
    record_property("simulator", f"{scenario}: {found}")
    assert found.schedules >= found.faultless > 0
    assert found.states > 70


@pytest.mark.timeout(1200 if FULL else 600)
@pytest.mark.parametrize("scenario", sample(SCENARIOS if FULL else OF_TWO, "two ensure", "two recreate"))
def test_every_interleaving_keeps_the_promises_where_a_session_is_made_with_its_rules(scenario):
    subject = Subject(server=SimulatedServerOfV2)
    found = Exploration(SCENARIOS[scenario], subject, faults=affordable(scenario)).run()
    assert found.violation is None, found.violation
    assert found.schedules >= found.faultless > 0


@pytest.mark.full
@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_simulator_catches(mutant):
    scenario, faults, promise = mutants.MUTANTS[mutant]
    found = Exploration(SCENARIOS[scenario], mutants.subject(mutant), faults=faults).run()
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1].startswith(f"BROKEN: {promise}")
    assert explored(scenario, faults).violation is None


@pytest.mark.full
@pytest.mark.parametrize("mutant", mutants.OF_V2, ids=lambda mutant: mutant.__name__)
def test_the_simulator_catches_where_a_session_is_made_with_its_rules(mutant):
    scenario, faults, promise = mutants.MUTANTS[mutant]
    subject = replace(mutants.subject(mutant), server=SimulatedServerOfV2)
    found = Exploration(SCENARIOS[scenario], subject, faults=faults).run()
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1].startswith(f"BROKEN: {promise}")


def test_the_schedule_that_breaks_a_promise_is_the_shortest_and_can_be_read():
    found = Exploration(SCENARIOS["two ensure"], mutants.subject(mutants.UsesWhatIsReserved), faults=2).run()
    assert found.violation.splitlines() == [
        "worker 1: load() → nothing",
        "worker 1: load() → nothing",
        "worker 1: read() → nothing, SessionSpec v1",
        "worker 1: reserve(None → ses_1a) → ses_1a",
        "worker 1: create(ses_1a) → ses_1a with 0 rules",
        "worker 2: load() → ses_1a",
        "worker 2: prompt(ses_1a) → True",
        "worker 2 returns ses_1a",
        "BROKEN: a session was prompted before its rules were in force",
    ]


@pytest.mark.full
@pytest.mark.parametrize(
    "scenario",
    [
        "two ensure",
        "two recreate",
        "two delete",
        "one takes a turn, one recreates",
        "two reconcile while it changes again",
    ],
)
def test_merging_workers_that_go_on_alike_loses_no_schedule(scenario):
    merged = explored(scenario)
    unmerged = Exploration(SCENARIOS[scenario], faults=2, merging=False).run()
    assert (merged.schedules, merged.faultless) == (unmerged.schedules, unmerged.faultless)
    assert merged.longest == unmerged.longest
    assert merged.states < unmerged.states


def looking(times):
    """A worker that reads the row so often."""

    async def look(hands):
        for _ in range(times):
            await hands.lifecycle.store.load()

    return look


@pytest.mark.parametrize(
    ("looks", "faults", "schedules"),
    [
        ((4, 4), 0, math.comb(8, 4)),
        ((2, 2, 2), 0, math.factorial(6) // 2**3),
        ((5,), 1, 1 + 5 * 4),  # at one call it dies or fails, before or after
        ((1, 1), 1, 2 * (1 + 2 * 4)),  # likewise, in both orders
        ((1, 1), 2, 2 * (1 + 2 * 4 + 2 * 2 * 2)),  # and one dies and the other fails
    ],
)
def test_schedules_are_as_many_as_one_counts_by_hand(looks, faults, schedules):
    scenario = Scenario(nothing, tuple(map(looking, looks)), looking(1), promises=lambda end: None)
    assert Exploration(scenario, faults=faults).run().schedules == schedules
