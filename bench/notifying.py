"""From the server's delta to a browser at another process: by polling, and with a notifier.

One process runs the turns, another one shows each of them to one browser, over one PostgreSQL database. `WATCHED=100`
in the environment watches so many turns; by default 10.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median, quantiles

import psycopg
from fix_valkey import running_valkey

from bench.hosting import fastapi_host
from bench.recording import Recording, record
from bench.replay import replaying
from bench.watching import Watched, watching
from opencode_sessions import OpencodeServer

_WATCHED = int(os.environ.get("WATCHED", "10"))
_SECONDS = 6.0
"""That a turn takes, which makes some twelve deltas a second of each."""

_TOLD = 1.5
"""Seconds after which a connection of PostgreSQL has told its statistics."""


@dataclass
class Load:
    """What it took.

    Attributes:
        watched: By the browsers.
        queries: Of the process that shows the turns, a second.
        transactions: Of the database, a second.
        cpu: Of the two processes together, seconds a second.
    """

    watched: Watched
    queries: float
    transactions: float
    cpu: float


def measure(server: OpencodeServer, new_database: Callable[[], str]) -> list[tuple[str, ...]]:
    """Each way with two processes, and a database, of its own.

    Args:
        server: The real one, for what is replayed.
        new_database: Makes an empty PostgreSQL database, and gives its URL.
    """
    recording = record(server, stamped=True)
    with replaying(recording, seconds=_SECONDS) as upstream, running_valkey() as valkey:
        loads = {}
        for way in ("polling", "PostgreSQL", "Valkey"):
            url = new_database()
            notifier = {"polling": "", "PostgreSQL": url, "Valkey": valkey.url}[way]
            loads[way] = _loaded(upstream, url, notifier, recording)
    return [(f"{_WATCHED} watched turns", *loads), *_rows(list(loads.values()), recording.deltas)]


def _loaded(upstream: str, database: str, notifier: str, recording: Recording) -> Load:
    url = database.replace("+psycopg", "+asyncpg")
    with (
        ExitStack() as stack,
        psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as statistics,
    ):
        runs = stack.enter_context(fastapi_host(upstream, url, _WATCHED, notifier))
        keys = runs.ask("make", f"{_WATCHED} of {_WATCHED}", _WATCHED)
        shows = stack.enter_context(fastapi_host(upstream, url, _WATCHED, notifier))
        shows.ask("queries")
        watched = stack.enter_context(watching(shows.url, [shows.path.format(key) for key in keys]))
        time.sleep(_TOLD)
        queries, transactions = shows.ask("queries"), _transactions(statistics)
        began, spent = time.monotonic(), runs.ask("run", keys) + shows.ask("wait")
        cpu = runs.ask("wait") + shows.ask("wait") - spent
        took = time.monotonic() - began
        queries = shows.ask("queries") - queries
        seen = watched.recv()
        time.sleep(_TOLD)
        transactions = _transactions(statistics) - transactions
        answers = runs.ask("answers", keys)
    if answers != [("completed", recording.text)] * _WATCHED:
        raise RuntimeError(f"turns went wrong: {answers}")
    return Load(seen, queries / took, transactions / took, cpu / took)


def _transactions(connection: psycopg.Connection) -> int:
    asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    row = connection.execute(asked).fetchone()
    return int(row[0]) if row else 0


def _rows(loads: list[Load], deltas: int) -> list[tuple[str, ...]]:
    def row(name: str, tell: Callable[[Load], str]) -> tuple[str, ...]:
        return (name, *map(tell, loads))

    return [
        row("delay, median, ms", lambda load: f"{median(load.watched.delays) / 1e6:.0f}"),
        row("delay, 99th %, ms", lambda load: f"{quantiles(load.watched.delays, n=100)[98] / 1e6:.0f}"),
        row("deltas shown", lambda load: f"{len(load.watched.delays) / (_WATCHED * deltas):.0%}"),
        row("queries a second of the process that shows", lambda load: f"{load.queries:.1f}"),
        row("transactions a second of the database", lambda load: f"{load.transactions:.1f}"),
        row("CPU of both processes, s a second", lambda load: f"{load.cpu:.2f}"),
    ]
