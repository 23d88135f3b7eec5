"""`make chaos`: rounds of faults, drawn from a seed, and a table of what came of them."""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from rich.console import Console

from chaos import report
from chaos.crew import Crew
from chaos.plan import LANES, LINES, Plan, Size
from chaos.round import Round
from chaos.stage import Stage


def main():
    arguments = _arguments()
    console = Console(soft_wrap=True)
    violated = False
    for line in LINES if arguments.line == "both" else (arguments.line,):
        console.print(
            f"seed {arguments.seed}, line {line}, {arguments.rounds} rounds of {arguments.seconds:g} s"
        )
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
    with Stage(arguments.seed, line) as stage, Crew() as crew:
        for number in range(arguments.first, arguments.first + arguments.rounds):
            began = time.monotonic()
            plan = Plan.of(arguments.seed, number, size, arguments.lanes)
            outcomes.append(Round(plan, stage, crew).run())
            report.line(console, outcomes[-1], time.monotonic() - began)
            report.violations(console, outcomes[-1], stage.folder / f"round-{number}.log", arguments.keep)
    report.table(console, outcomes)
    return any(outcome.violations for outcome in outcomes)


def _arguments():
    usual = Size()
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(100_000), help="of all that is random")
    parser.add_argument(
        "--line", choices=(*LINES, "both"), default=usual.line, help="of OpenCode: 1.x or 2.x"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--records", type=int, default=usual.records)
    parser.add_argument("--messages", type=int, default=usual.messages, help="of a record")
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of faults in a round")
    parser.add_argument("--lanes", nargs="*", choices=LANES, default=list(LANES), help="what may break")
    parser.add_argument("--keep", help="a folder for the logs of rounds with violations")
    return parser.parse_args()


sys.exit(main())
