"""What is told of rounds: a line each, all there is to know of a violation, and a table at the end."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

from rich.table import Table
from sqlalchemy import inspect

_TOLD = (
    "started",
    "recovered",
    "gap",
    "raised",
    "not recovered",
    "swallowed",
    "cancelled",
    "came too late",
    "ended by itself",
)


def line(console, outcome, took):
    turns = ", ".join(f"{count} {how}" for how, count in sorted(outcome.turns.items()))
    console.print(
        f"round {outcome.plan.number}: {len(outcome.faults)} faults; {turns}; healed in {outcome.took:.1f} s, "
        f"{took:.0f} s in all; {len(outcome.violations)} violations"
    )


def violations(console, outcome, log, keep):
    """Seed, round, faults, and for each violation its row, its notes and the stored exchange."""
    if not outcome.violations:
        return
    plan = outcome.plan
    lines = [f"\n== seed {plan.seed}, round {plan.number}: {plan.size}"]
    lines += [f"   {fault}   (struck at {at:.2f} s)" for at, fault in outcome.faults]
    shown = set()
    for violation in outcome.violations:
        lines.append(f"\n!! {violation.what}")
        if violation.message not in shown:
            lines += _exhibits(violation, outcome.notes)
        shown.add(violation.message)
    if keep:
        Path(keep).mkdir(parents=True, exist_ok=True)
        kept = Path(keep) / f"seed-{plan.seed}-round-{plan.number}-{log.name}"
        (partial(shutil.copytree, dirs_exist_ok=True) if log.is_dir() else shutil.copy)(log, kept)
        lines.append(f"   what the library logged: {kept}")
    console.print("\n".join(lines), markup=False, highlight=False)


def _exhibits(violation, notes):
    if violation.message is None:
        return
    yield f"   row: {json.dumps(_columns(violation.exhibits['row']), default=str)}"
    for message in violation.exhibits["stored"]:
        yield f"   stored: {message.info}"
        for part in message.parts:
            yield f"      {json.dumps(part)[:600]}"
    for note in notes:
        if note.get("message") == "{}:{}".format(*violation.message):
            yield f"   {json.dumps(note)}"


def _columns(row):
    return {name: getattr(row, name) for name in inspect(type(row)).columns.keys()}  # noqa: SIM118 - not a dict


def table(console, outcomes):
    """How much of everything there was."""
    faults = Counter(f"{fault.lane}: {fault.kind}" for outcome in outcomes for _, fault in outcome.faults)
    turns = sum((outcome.turns for outcome in outcomes), Counter())
    notes = [note for outcome in outcomes for note in outcome.notes]
    happened = Counter(note["what"] for note in notes)
    starts = Counter((note["message"], note["prompt"]) for note in notes if note["what"] == "started")
    happened["sent again"] = sum(count - 1 for count in starts.values())
    made = Table("", "how often", title=f"{len(outcomes)} rounds", title_justify="left")
    made.columns[1].justify = "right"
    groups = (
        ("fault", faults),
        ("turn", turns),
        ("it", {what: happened[what] for what in (*_TOLD[1:], "sent again")}),
        ("", {"violations": sum(len(outcome.violations) for outcome in outcomes)}),
    )
    for name, counts in groups:
        for what, count in sorted(counts.items()):
            made.add_row(f"{name} {what}".strip(), str(count))
        made.add_section()
    console.print(made)
