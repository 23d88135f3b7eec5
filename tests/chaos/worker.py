"""A program that forks the host's processes: workers, recoverers, and clerks that answer asks and cancel turns.

It imports once, and forks before there is an engine, a client or a thread. Each line of its stdin is an order in
JSON (`crew.Crew` writes them), answered with one line: `fork` with the pid, `kill`, or `ended`.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from sqlalchemy import String, cast, create_engine, literal, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as Database
from sqlalchemy.orm import configure_mappers

from chaos import host
from chaos.host import Message
from chaos.notes import Noting, note
from opencode_sessions import Ask, AskAnsweredError, Client, ErrorContext, Timeouts
from opencode_sessions.errors import OpencodeError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sqlalchemy import abandoned
from opencode_sessions.turns.recovery import recover

LAZY = (
    "encodings.idna",
    "httpcore2",
    "psycopg",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
)
TIMEOUTS = Timeouts(connect=3.0, read=5.0, creation=5.0, silence=20.0)
THREADS = 3
PAUSE = 0.3
OVER = ("completed", "cancelled", "failed")


class Process:
    """What the kinds of processes have in common.

    Args:
        task: `name`, `databases` by kind, `server`, `messages` as pairs of kind and key, `until` when (on the
            monotonic clock) it goes on, `notes`: the file that it writes to what it did, and what its kind wants.
    """

    def __init__(self, task):
        self.task = task
        self.engines = {
            kind: create_engine(url, pool_pre_ping=True, pool_size=THREADS + 2)
            for kind, url in task["databases"].items()
        }
        self.client = Client(**task["server"], timeouts=TIMEOUTS)
        self.artifacts = {
            kind: host.artifacts(engine, task["files"]) for kind, engine in self.engines.items()
        }
        self._random = random.Random(task["name"])  # noqa: S311 - it is to be repeatable
        os.environ |= {"WHO": task["name"], "NOTES": task["notes"]}

    def turn(self, kind, key, **options):
        def on_error(error, context):
            note("swallowed", message=f"{kind}:{key}", action=context.action, error=repr(error))

        observer = Noting(f"{kind}:{key}")
        return host.turn(
            self.engines[kind],
            key,
            self.client,
            artifacts=self.artifacts[kind],
            on_error=on_error,
            observer=observer,
            **options,
        )

    @property
    def late(self):
        return time.monotonic() > self.task["until"]

    def rows(self, *conditions):
        """The messages of this task that fit, as pairs of kind and row; of a database that is there."""
        for kind, engine in self.engines.items():
            keys = [key for of, key in self.task["messages"] if of == kind]
            try:
                with Database(engine) as database:
                    found = database.scalars(select(Message).where(Message.id.in_(keys), *conditions)).all()
                    database.expunge_all()
            except SQLAlchemyError:
                self.blind = True
                continue
            for row in found:
                yield kind, row

    def unfinished(self):
        """Is a turn of this task unfinished, or are files of it due; or may that be?"""
        self.blind = False
        due = select(host.TABLES.due.c.message)
        is_due = (literal("messages:") + cast(Message.id, String)).in_(due)
        return any(True for _ in self.rows(Message.status.not_in(OVER) | is_due)) or self.blind


class Worker(Process):
    """Runs each of its turns until it has ended, as a queue that delivers again does."""

    def run(self):
        with ThreadPoolExecutor(THREADS) as pool:
            for each in [pool.submit(self._insist, *message) for message in self.task["messages"]]:
                each.result()

    def _insist(self, kind, key):
        while not self.late:
            try:
                self.turn(kind, key).run()
            except (OpencodeError, SQLAlchemyError) as error:
                note("raised", message=f"{kind}:{key}", error=repr(error)[:300])
                time.sleep(PAUSE)
            else:
                return


class Recoverer(Process):
    """Takes up what was abandoned, and in the end what was never begun, until nothing is unfinished."""

    def run(self):
        while not self.late and self.unfinished():
            conditions = [abandoned(Message)]
            if self.task["pending_too"]:
                conditions = [Message.status.not_in(OVER)]
            for _ in recover(self._turns(*conditions), on_error=self._failed):
                pass
            for _ in recover(self._due(), on_error=self._failed):
                pass
            time.sleep(PAUSE)

    def _turns(self, *conditions):
        for kind, row in list(self.rows(*conditions)):
            try:
                yield self.turn(kind, row.id, when_busy="reject")
            except SQLAlchemyError as error:
                self._failed(error, ErrorContext("load", f"{kind}:{row.id}"))

    def _due(self):
        """The turns that have ended, and whose files are due: to run one again collects them."""
        for kind, artifacts in self.artifacts.items():
            try:
                found = run_sync(artifacts.store.due(look_after=host.LEASE))
                keys = [int(due.job.pk) for due in found]
                ended = [
                    row.id
                    for of, row in self.rows(Message.id.in_(keys), Message.status.in_(OVER))
                    if of == kind
                ]
                yield from (self.turn(kind, key, when_busy="reject") for key in ended)
            except SQLAlchemyError as error:
                self._failed(error, ErrorContext("load", f"files of {kind}"))

    def _failed(self, error, context):
        note("not recovered", message=context.record, error=repr(error)[:300])


class Clerk(Process):
    """Another process of the host's: answers what waits in the rows, and cancels turns."""

    def run(self):
        to_cancel = [tuple(each) for each in self.task["cancels"]]
        while not self.late and (to_cancel or self.unfinished()):
            for at, kind, key in list(to_cancel):
                if at <= time.monotonic() and self._cancelled(kind, key):
                    to_cancel.remove((at, kind, key))
            for kind, row in self.rows(Message.status == "streaming", Message.person == "is elsewhere"):
                for asked in row.asks:
                    if Ask.from_json(asked).age >= host.thought(asked["id"]):
                        self._answer(kind, row.id, asked)
            time.sleep(PAUSE * self._random.uniform(0.2, 1))

    def _cancelled(self, kind, key):
        try:
            cancelled = self.turn(kind, key).cancel(by="the clerk")
        except (OpencodeError, SQLAlchemyError) as error:
            note("not cancelled", message=f"{kind}:{key}", error=repr(error)[:300])
            return False
        note("cancelled" if cancelled else "came too late", message=f"{kind}:{key}")
        return True

    def _answer(self, kind, key, asked):
        person = self._random.choice(("says yes", "says yes", "says no and why"))
        try:
            self.turn(kind, key).answer(asked["id"], host.answer(asked, person))
        except AskAnsweredError:
            note("answered already", message=f"{kind}:{key}", ask=asked["id"])
        except (OpencodeError, SQLAlchemyError) as error:
            note("not answered", message=f"{kind}:{key}", ask=asked["id"], error=repr(error)[:300])
        else:
            note("answered", message=f"{kind}:{key}", ask=asked["id"], person=person)


ROLES = {"worker": Worker, "recoverer": Recoverer, "clerk": Clerk}


def be(task):
    """A process's whole life."""
    signal.alarm(int(task["until"] - time.monotonic()) + 240)  # whatever it hangs in
    logging.basicConfig(
        filename=task["log"],
        format=f"%(asctime)s.%(msecs)03d {task['name']} %(threadName)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("opencode_sessions").setLevel(logging.DEBUG)
    process = ROLES[task["role"]](task)
    try:
        process.run()
    except BaseException as error:
        note("died", error=repr(error)[:300])
        raise


def fork(task):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            be(task)
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may come back out of a fork
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    return pid


def obey(order, living):
    match order:
        case {"do": "fork", "task": task}:
            pid = fork(task)
            living.add(pid)
            return pid
        case {"do": "kill", "pid": pid} if pid in living:
            os.kill(pid, signal.SIGKILL)  # it is ours until we have waited for it, even if it has ended
            os.waitpid(pid, 0)
            living.remove(pid)
        case {"do": "ended", "pid": pid} if pid in living and os.waitpid(pid, os.WNOHANG)[0]:
            living.remove(pid)
    return order["pid"] not in living


def main():
    for module in LAZY:
        import_module(module)
    configure_mappers()
    living = set()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(obey(json.loads(line), living)) + "\n")
        sys.stdout.flush()
    for pid in living:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
