"""`make chaos`: rounds of faults, drawn from a seed, and a table of what came of them."""

from __future__ import annotations

import argparse
import secrets
import time
from contextlib import ExitStack

from rich.console import Console

from chaos import report
from chaos.crew import Crew
from chaos.machine_round import MachineRound
from chaos.plan import DATABASES, LANES, LINES, MACHINE_LANES, QUEUES, Plan, Size
from chaos.round import Round
from chaos.site import Site
from chaos.stage import Stage


def main():
    arguments = _arguments()
    console = Console(soft_wrap=True)
    violated = False
    for line in LINES if arguments.line == "both" else (arguments.line,):
        where = f"on machines, with the queue {arguments.queue}" if arguments.machines else f"line {line}"
        console.print(f"seed {arguments.seed}, {where}, {arguments.rounds} rounds of {arguments.seconds:g} s")
        violated |= _rounds(arguments, line, console)
    return 1 if violated else 0


def _rounds(arguments, line, console):
    """Run all rounds on a server of one line. Was a promise broken?"""
    size = Size(
        records=arguments.records,
        messages=arguments.messages,
        workers=arguments.workers,
        seconds=arguments.seconds,
        line=line,
    )
    outcomes = []
    with ExitStack() as running:
        make = _on_machines if arguments.machines else _here
        databases, round_of = make(arguments, line, running)
        for number in range(arguments.first, arguments.first + arguments.rounds):
            began = time.monotonic()
            round_ = round_of(Plan.of(arguments.seed, number, size, arguments.lanes, databases))
            outcomes.append(round_.run())
            report.line(console, outcomes[-1], time.monotonic() - began)
            report.violations(console, outcomes[-1], round_.log, arguments.keep)
    report.table(console, outcomes)
    return any(outcome.violations for outcome in outcomes)


def _here(arguments, line, running):
    """All processes on this machine: the databases, and a function that makes a round of a plan."""
    stage = running.enter_context(Stage(arguments.seed, line))
    crew = running.enter_context(Crew())
    return DATABASES, lambda plan: Round(plan, stage, crew)


def _on_machines(arguments, _line, running):
    """The same on several machines."""
    site = running.enter_context(Site(arguments.seed, arguments.queue))
    return ("postgresql",), lambda plan: MachineRound(plan, site)


def _arguments():
    usual = Size()
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(100_000), help="of all that is random")
    parser.add_argument(
        "--line",
        choices=(*LINES, "both"),
        default=usual.line,
        help="of OpenCode: 1.x or 2.x; not of --machines",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--records", type=int, default=usual.records)
    parser.add_argument("--messages", type=int, default=usual.messages, help="of a record")
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--seconds", type=float, help="of faults in a round")
    parser.add_argument("--lanes", nargs="*", choices={**LANES, **MACHINE_LANES}, help="what may break")
    parser.add_argument("--keep", help="a folder for the logs of rounds with violations")
    parser.add_argument("--machines", action="store_true", help="on several machines; as root on Linux")
    parser.add_argument("--queue", choices=QUEUES, help="of --machines; by default one that the seed chooses")
    arguments = parser.parse_args()
    if arguments.lanes is None:
        arguments.lanes = list(MACHINE_LANES if arguments.machines else LANES)
    if arguments.seconds is None:
        arguments.seconds = 25.0 if arguments.machines else usual.seconds
    if arguments.queue is None:
        arguments.queue = QUEUES[arguments.seed % len(QUEUES)]
    return arguments
