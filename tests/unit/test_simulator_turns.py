"""Promises 3, 5 and 8 of turns in every interleaving of those who run, cancel and recover them; see `simulator.turns`.

Somewhere on a way one worker may die, or one call fail, or the server die; in those scenarios that are vast, this
happens only on ways that are drawn by chance. With `SIM=full` in the environment (`make simulate`) each of the three
may happen on one way, and in the vast ones one of them.
"""

from __future__ import annotations

import functools
import os

import pytest
from selection import sample
from simulator.turns.explore import TurnExploration, TurnSubject
from simulator.turns.mutants import EACH_OTHER, MUTANTS, CancelsForNothing
from simulator.turns.mutants_of_v2 import ALIKE, of_v2
from simulator.turns.mutants_of_v2 import MUTANTS as MUTANTS_OF_V2
from simulator.turns.scenarios import CROWD, TURNS, TURNS_OF_V2
from simulator.turns.server_of_v2 import TurnServerOfV2

FULL = os.environ.get("SIM") == "full"
VAST = [name for name, scenario in TURNS.items() if scenario.vast]
QUICK = ("one runs, one deletes", "two run one turn in a busy session")


@functools.cache
def explored(scenario, faults):
    return TurnExploration(TURNS[scenario], faults=faults).run()


def affordable(scenario):
    """How many faults on one way."""
    return int(not TURNS[scenario].vast) + FULL


@pytest.mark.timeout(3600 if FULL else 600)
@pytest.mark.parametrize("scenario", sample(TURNS, *QUICK))
def test_every_interleaving_of_turns_keeps_the_promises(scenario, record_property):
    found = explored(scenario, affordable(scenario))
    assert found.violation is None, found.violation
    record_property("simulator", f"{scenario}: {found}")
    assert found.schedules >= found.faultless > 0
    assert found.states > 400


@pytest.mark.parametrize("scenario", sample(VAST, "two recover what was sent"))
def test_faults_on_ways_drawn_by_chance_keep_the_promises(scenario, record_property):
    drawn = TurnExploration(TURNS[scenario], faults=1).draw(ways=20_000 if FULL else 500, seed=1)
    assert drawn.violation is None, drawn.violation
    record_property("simulator", f"{scenario}: {drawn}")
    assert drawn.ways > drawn.faulty > drawn.ways / 4


def test_what_is_broken_is_caught_on_ways_drawn_by_chance_too():
    subject, *_, promise = MUTANTS["swallows in silence"]
    exploration = TurnExploration(TURNS["one recovers what was sent, one cancels"], subject, faults=1)
    drawn = exploration.draw(ways=1_000, seed=1)
    assert drawn.violation is not None, "it was not caught"
    assert drawn.violation.splitlines()[-1].startswith(f"BROKEN: {promise}")


@pytest.mark.full
def test_of_three_runners_who_all_cancel_none_cancels_for_a_turn_that_has_ended():
    drawn = TurnExploration(CROWD, faults=0).draw(ways=1_000, seed=3)
    assert drawn.violation is None, drawn.violation
    # It ends at the first one that is caught: one in some thousand.
    broken = TurnExploration(CROWD, TurnSubject(driver=CancelsForNothing), faults=0).draw(ways=20_000, seed=3)
    assert broken.violation is not None, "it was not caught"
    assert broken.violation.splitlines()[-1] == f"BROKEN: {EACH_OTHER}"


@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_simulator_catches_a_turn_that(mutant):
    subject, scenario, faults, promise = MUTANTS[mutant]
    found = TurnExploration(TURNS[scenario], subject, faults=faults).run()
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1].startswith(f"BROKEN: {promise}")
    assert explored(scenario, faults).violation is None


@pytest.mark.full
def test_the_schedule_that_breaks_a_promise_of_a_turn_can_be_read():
    subject, scenario, faults, _ = MUTANTS["cancels the row alone"]
    found = TurnExploration(TURNS[scenario], subject, faults=faults).run()
    assert found.violation.splitlines() == [
        "worker 1: load() → streaming abandoned in epoch 1",
        "worker 1: cancel(streaming abandoned in epoch 1, Cancelled by ada) → True",
        "worker 1: claim(memory:1, 3.0) → None",
        "worker 1: unclaim(memory:1) → None",
        "worker 1 returns True",
        "worker 2: load() → cancelled in epoch 2",
        "worker 2 returns False",
        "the leases run out",
        "BROKEN: the agent works on a turn that was cancelled",
    ]


@pytest.mark.full
@pytest.mark.parametrize(
    "scenario", ["two run one turn", "two cancel what was sent", "two turns, the second is refused"]
)
def test_merging_runners_that_go_on_alike_loses_no_schedule(scenario):
    merged = explored(scenario, 0)
    unmerged = TurnExploration(TURNS[scenario], faults=0, merging=False).run()
    assert (merged.schedules, merged.faultless) == (unmerged.schedules, unmerged.faultless)
    assert merged.longest == unmerged.longest
    assert merged.states < unmerged.states


ON_V2 = TurnSubject(server=TurnServerOfV2)


@pytest.mark.parametrize("scenario", sample(TURNS_OF_V2, "one recovers what was sent, one cancels"))
def test_turns_on_a_server_of_the_2_x_line_keep_the_promises(scenario, record_property):
    """Ways are drawn by chance: with the messages that say how an execution ended, there are twice as many states."""
    exploration = TurnExploration(TURNS_OF_V2[scenario], ON_V2, faults=1)
    drawn = exploration.run() if FULL else exploration.draw(ways=100, seed=1)
    assert drawn.violation is None, drawn.violation
    record_property("simulator", f"2.x: {scenario}: {drawn}")


def test_what_waits_behind_another_prompt_is_taken_back_in_every_interleaving():
    found = TurnExploration(
        TURNS_OF_V2["one cancels what waits behind another prompt"], ON_V2, faults=1
    ).run()
    assert found.violation is None, found.violation
    assert found.schedules > found.faultless > 0


@pytest.mark.parametrize("mutant", sample(MUTANTS_OF_V2, "leaves prompts parked"))
def test_the_simulator_catches_a_turn_on_the_2_x_line_that(mutant):
    subject, scenario, promise = MUTANTS_OF_V2[mutant]
    exploration = TurnExploration(TURNS_OF_V2[scenario], of_v2(subject), faults=0)
    alone = len(TURNS_OF_V2[scenario].workers) == 1
    found = exploration.run() if alone else exploration.draw(ways=1_000, seed=1)
    assert found.violation is not None, "it was not caught"
    assert found.violation.splitlines()[-1] == f"BROKEN: {promise}", found.violation


@pytest.mark.full
@pytest.mark.parametrize("mutant", ALIKE)
def test_the_simulator_catches_on_both_lines_a_turn_that(mutant):
    subject, scenario, faults, _ = MUTANTS[mutant]
    found = TurnExploration(TURNS[scenario], of_v2(subject), faults=faults).draw(ways=1_000, seed=1)
    assert found.violation is not None, "it was not caught"
