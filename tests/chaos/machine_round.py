"""A round on machines: web processes enqueue turns, and faults strike machines and what runs on them."""

from __future__ import annotations

import json
import time
from random import Random

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Database

from chaos import prompts
from chaos.checks import Violation
from chaos.host import Conversation, Message
from chaos.round import Round
from chaos.worker import OVER

PATIENCE = 300.0
"""Seconds that recovery may take: a job that was lost is believed in for some time."""


class MachineRound(Round):
    """A plan on a site."""

    def __init__(self, plan, site):
        self._from = (site.folder / "notes").stat().st_size
        self._ended_before = len(site.ended)
        super().__init__(plan, site, crew=None)

    @property
    def log(self):
        return self._stage.logs

    def _add_rows(self):
        """Of conversations; web processes add the messages, under these ids."""
        records = {}
        with Database(self._stage.engines["postgresql"], expire_on_commit=False) as database:
            first = 1 + self._plan.number * len(self._plan.asked)
            for asked in self._plan.asked:
                if asked.record not in records:
                    records[asked.record] = Conversation(title=f"conversation {asked.record}")
                    database.add(records[asked.record])
                    database.commit()
                self.keys[asked] = ("postgresql", first + len(self.keys))
        self._records = {record: row.id for record, row in records.items()}

    def _let_go(self):
        size = self._plan.size
        tasks = [{"enqueue": [], "watch": [], "cancels": []} for _ in range(2)]
        for asked, (_, key) in self.keys.items():
            random = Random(asked.tag)  # noqa: S311 - it is to be repeatable
            at = self._began + random.uniform(0, 0.6 * size.seconds)
            one, other = random.sample(tasks, 2)
            prompt = asked.prompt.replace(prompts.FOLDER, ".")
            one["enqueue"].append([at, key, self._records[asked.record], prompt, asked.person])
            other["watch"].append(key)
            if asked.cancel is not None:
                other["cancels"].append([self._began + asked.cancel, key])
        for number, task in enumerate(tasks):
            task["enqueue"].sort()
            task["until"] = self._until + PATIENCE + 60
            file = self._stage.folder / f"task-{self._plan.number}-{number}.json"
            file.write_text(json.dumps(task))
            name = f"web {number}"
            self._stage.run(name, name, ["-m", "chaos.web", self._stage.module, str(file)])

    def _ways(self):
        site = self._stage
        return {
            "lines": site.strike_line,
            "machines": lambda fault, stop: site.stop_machine(stop=stop, **fault.how),
            "processes": lambda fault, _: site.kill(**fault.how),
            "servers": lambda fault, stop: site.kill_server(stop=stop, **fault.how),
            "brokers": site.strike_broker,
            "database": lambda fault, stop: site.crash_database(stop=stop, **fault.how),
        }

    def _recover(self):
        healed = time.monotonic()
        while self._count_unfinished() and time.monotonic() < healed + PATIENCE:
            time.sleep(0.2)
        took = time.monotonic() - healed
        while self._webs() and time.monotonic() < healed + took + 60:
            time.sleep(0.1)
        return took

    def _count_unfinished(self):
        keys = [key for _, key in self.keys.values()]
        with Database(self._stage.engines["postgresql"]) as database:
            ended = select(func.count()).where(Message.id.in_(keys), Message.status.in_(OVER))
            return len(keys) - database.scalar(ended)

    def _webs(self):
        return [name for name in ("web 0", "web 1") if self._stage.runs(name)]

    def _lost(self, notes):
        for name in self._webs():
            yield Violation(f"{name} hangs, 60 s after the last turn ended")
            self._stage.describe(name)
            self._stage.forget(name)
        with Database(self._stage.engines["postgresql"]) as database:
            for asked, (_, key) in self.keys.items():
                if database.get(Message, key) is None:
                    yield Violation(f"{asked.tag}: its message was never stored")

    def _notes(self):
        with (self._stage.folder / "notes").open() as lines:
            lines.seek(self._from)
            notes = [json.loads(line) for line in lines]
        notes += [
            {"at": self._began, "who": name, "what": "ended by itself", "code": code}
            for name, code in self._stage.ended[self._ended_before :]
        ]
        return [{**note, "at": round(note["at"] - self._began, 3)} for note in notes]
