"""One round: rows are added, processes let go, faults happen; all heals, turns are recovered, and it is checked."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Database

from chaos import prompts
from chaos.checks import Violation, check
from chaos.host import TABLES, Conversation, Message
from chaos.stage import Lane, strike
from chaos.worker import OVER

PATIENCE = 120.0
"""Seconds that recovery may take."""


@dataclass
class Outcome:
    """What came of a round.

    Attributes:
        faults: (seconds after the start, fault).
        turns: How many ended in each status, or with each error.
        notes: What the processes say of themselves.
        violations: Of the promises.
        took: Seconds from the healing until no turn was unfinished, and no file was due.
    """

    plan: object
    faults: list = field(default_factory=list)
    turns: Counter = field(default_factory=Counter)
    notes: list = field(default_factory=list)
    violations: list = field(default_factory=list)
    took: float = 0.0


class Round:
    """A plan on a stage, with a crew."""

    def __init__(self, plan, stage, crew):
        self._plan, self._stage, self._crew = plan, stage, crew
        self.keys = {}
        self._add_rows()

    @property
    def log(self):
        """What the library logged: a file, or a folder."""
        return self._file("log")

    def run(self):
        self._began = time.monotonic() + 0.2
        self._until = self._began + self._plan.size.seconds
        self._let_go()
        outcome = Outcome(self._plan, faults=self._suffer())
        self._stage.heal()
        outcome.took = self._recover()
        outcome.notes = self._notes()
        outcome.violations = [*self._lost(outcome.notes), *check(self._stage, self.keys, outcome)]
        for kind, key in self.keys.values():
            row = self.row(kind, key)
            how = (
                row.status
                if row.error is None or row.status == "cancelled"
                else f"failed: {row.error['name']}"
            )
            outcome.turns[how] += 1
        return outcome

    def row(self, kind, key):
        """A message as it is stored."""
        with Database(self._stage.engines[kind]) as database:
            return database.get_one(Message, key)

    def _add_rows(self):
        records = {}
        for asked in self._plan.asked:
            with Database(self._stage.engines[asked.database], expire_on_commit=False) as database:
                if asked.record not in records:
                    records[asked.record] = Conversation(title=f"conversation {asked.record}")
                    database.add(records[asked.record])
                    database.commit()
                record = records[asked.record]
                folder = self._stage.artifacts[asked.database].sandbox.name(record)
                prompt = asked.prompt.replace(prompts.FOLDER, folder)
                message = Message(conversation_id=record.id, prompt=prompt, person=asked.person)
                database.add(message)
                database.commit()
                self.keys[asked] = (asked.database, message.id)

    def _let_go(self):
        everything = list(self.keys.values())
        for number in range(self._plan.size.workers):
            messages = [key for asked, key in self.keys.items() if number in asked.workers]
            self._fork(f"worker {number}", "worker", messages, self._until)
        number = self._plan.size.workers
        self._fork(f"worker {number}", "recoverer", everything, self._until, pending_too=False)
        cancels = [
            (self._began + asked.cancel, *key) for asked, key in self.keys.items() if asked.cancel is not None
        ]
        self._fork("clerk", "clerk", everything, self._until + PATIENCE, cancels=cancels)

    def _fork(self, name, role, messages, until, **more):
        task = {
            "name": name,
            "role": role,
            "databases": self._stage.databases,
            "server": self._stage.address(),
            "files": str(self._stage.files),
            "messages": messages,
            "until": until,
            "notes": str(self._file("notes")),
            "log": str(self._file("log")),
            **more,
        }
        self._crew.fork(name, task)

    def _file(self, name):
        return self._stage.folder / f"round-{self._plan.number}.{name}"

    def _suffer(self):
        """Let the faults happen; returns those that did, when the last is over."""
        happen = self._ways()
        lanes = []
        for name in sorted({fault.lane for fault in self._plan.faults}):
            one = happen.get(name, lambda fault, stop: strike(self._stage, fault, stop))
            lanes.append(Lane(self._plan.lane(name), self._began, one))
            lanes[-1].start()
        time.sleep(max(0.0, self._until - time.monotonic()))
        for lane in lanes:
            lane.stop.set()
        return sorted((each for lane in lanes for each in lane.done()), key=lambda each: each[0])

    def _ways(self):
        """How the faults of a lane happen: of a fault, and of what tells that its lane is over."""
        return {
            "workers": lambda fault, _: self._crew.kill(
                f"worker {fault.how['who']}", replaced_after=fault.how["replaced_after"]
            ),
            "clerk": lambda fault, _: self._crew.kill("clerk", **fault.how),
            "server": lambda fault, stop: self._stage.end_server(fault.kind, stop=stop, **fault.how),
            "database": lambda fault, stop: self._stage.crash_database(stop=stop, **fault.how),
            "storage": lambda fault, stop: self._stage.lose_storage(stop=stop, **fault.how),
        }

    def _recover(self):
        healed = time.monotonic()
        for number in range(2):
            self._fork(
                f"recoverer {number}",
                "recoverer",
                list(self.keys.values()),
                healed + PATIENCE,
                pending_too=True,
            )
        while self._count_unfinished() and time.monotonic() < healed + PATIENCE:
            time.sleep(0.1)
        took = time.monotonic() - healed
        # Whoever is still in a call has a moment to come back from it.
        while self._crew.living() and time.monotonic() < healed + took + 30:
            time.sleep(0.1)
        return took

    def _count_unfinished(self):
        count = 0
        for kind, engine in self._stage.engines.items():
            keys = [key for of, key in self.keys.values() if of == kind]
            with Database(engine) as database:
                mine = select(func.count()).where(Message.id.in_(keys), Message.status.not_in(OVER))
                count += database.scalar(mine)
                due = TABLES.due.c.message
                of_mine = select(func.count()).where(due.in_([f"messages:{key}" for key in keys]))
                count += database.scalar(of_mine)
        return count

    def _lost(self, notes):
        for slot in self._crew.living():
            yield Violation(f"{slot} hangs, 30 s after the last turn ended")
            self._crew.kill(slot)
        for note in notes:
            if note["what"] == "died":
                yield Violation(f"{note['who']} died of {note['error']}")

    def _notes(self):
        with self._file("notes").open() as lines:
            notes = [json.loads(line) for line in lines]
        return [{**note, "at": round(note["at"] - self._began, 3)} for note in notes]
