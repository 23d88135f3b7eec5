"""What it costs one ASGI process to run turns and show them to browsers, with Django beside FastAPI.

A delay is from the server's write of a delta to the arrival of the event that shows it in a browser. It contains what
the view waits on purpose: a part of an answer is sent at most every tenth of a second, with all that came meanwhile.
On a busy machine it waits longer, as the drawing of a turn may take a tenth of the time at most: compare quiet runs.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

import psycopg

from bench.hosting import Host, django_host, fastapi_host
from bench.recording import Recording, record
from bench.replay import replaying
from bench.watching import Watched, watching
from opencode_sessions import OpencodeServer

_SECONDS = 3.0
"""That a turn takes, which makes some twenty-five deltas a second of each."""

_LOADS = ((1, 1), (20, 0), (20, 20), (20, 100), (200, 200))
"""Turns that run at once, and the browsers that watch them."""

_HEAD = (
    "turns, browsers",
    "host",
    "CPU a turn, ms",
    "all, s",
    "delay, ms",
    "99th %",
    "shown",
    "KB each",
    "MiB",
    "KiB a stream",
    "connections",
    "most",
)

_FRAMEWORKS = ("Django", "FastAPI")
_LOOKS = 0.1


@dataclass
class Load:
    """What one process bore.

    Attributes:
        turns: That ran at once.
        browsers: That watched them.
        cpu: The seconds that it computed.
        seconds: That all took.
        memory: In KiB, before, and at most.
        connections: To its database, at each look.
        watched: By its browsers.
    """

    turns: int
    browsers: int
    cpu: float = 0.0
    seconds: float = 0.0
    memory: tuple[int, int] = (0, 0)
    connections: list[int] = field(default_factory=list)
    watched: Watched = field(default_factory=Watched)


def measure(server: OpencodeServer, new_database: Callable[[], str]) -> list[tuple[str, ...]]:
    """A process for each framework and load, one after the other, with PostgreSQL; and one each with SQLite.

    Args:
        server: The real one, for what is replayed.
        new_database: Makes an empty PostgreSQL database, and gives its URL.
    """
    recording = record(server, stamped=True)
    rows: list[tuple[str, ...]] = [_HEAD]
    with tempfile.TemporaryDirectory() as folder, replaying(recording, seconds=_SECONDS) as upstream:
        cases: list[tuple[int, int, str, _Sqlite | _Postgres]] = [
            (turns, browsers, framework, _Postgres(new_database()))
            for turns, browsers in _LOADS
            for framework in _FRAMEWORKS
        ]
        cases += [(20, browsers, "Django", _Postgres(new_database(), pool=True)) for browsers in (0, 20)]
        cases += [
            (20, 20, framework, _Sqlite(Path(folder) / f"{framework}.sqlite3")) for framework in _FRAMEWORKS
        ]
        for turns, browsers, framework, database in cases:
            load = Load(turns, browsers)
            with _starting(upstream, turns, framework, database) as host:
                _warm_up(host)
                _put_on(host, load, database, recording)
            rows.append((f"{turns}, {browsers}", f"{framework}, {database.name}", *_figures(load, recording)))
    return rows


def _starting(upstream: str, turns: int, framework: str, database: Any) -> AbstractContextManager[Host]:
    """A process of its own, alone: each hears all that the server says."""
    if framework == "Django":
        return django_host(upstream, database.settings, turns)
    return fastapi_host(upstream, database.url, turns)


def _warm_up(host: Host) -> None:
    """A turn and a browser: imports, templates, connections."""
    made = host.ask("make", "1 of 1", 1)
    with watching(host.url, _paths(host, made)):
        host.ask("run", made)
        host.ask("wait")


def _put_on(host: Host, load: Load, database: Any, recording: Recording) -> None:
    keys = host.ask("make", f"{load.turns} of {load.turns}", load.turns)
    paths = _paths(host, keys) * (load.browsers // load.turns)
    before = _kib(host.pid)
    with ExitStack() as stack:
        watched = stack.enter_context(watching(host.url, paths)) if paths else None
        look = stack.enter_context(database.looking(host.pid))
        began = time.monotonic()
        spent = host.ask("run", keys)
        host.tell("wait")
        most = before
        while not host.has_said(within=_LOOKS):
            most = max(most, _kib(host.pid))
            load.connections.append(look())
        load.cpu, load.seconds = host.hear() - spent, time.monotonic() - began
        load.memory = (before, most)
        if watched is not None:
            load.watched = watched.recv()
    answers = host.ask("answers", keys)
    if answers != [("completed", recording.text)] * load.turns:
        raise RuntimeError(f"turns went wrong: {answers}")
    wrong = [end for end in load.watched.ends if b'"completed"' not in end]
    if wrong or len(load.watched.ends) != len(paths):
        raise RuntimeError(
            f"of {len(paths)} browsers {len(load.watched.ends)} saw an end, {len(wrong)} a wrong one"
        )


def _figures(load: Load, recording: Recording) -> Iterator[str]:
    yield f"{load.cpu / load.turns * 1e3:,.0f}"
    yield f"{load.seconds:.1f}"
    if load.browsers:
        delays = load.watched.delays
        yield f"{median(delays) / 1e6:,.0f}"
        yield f"{quantiles(delays, n=100)[98] / 1e6:,.0f}"
        yield f"{len(delays) / (load.browsers * recording.deltas):.0%}"
        yield f"{load.watched.read / load.browsers / 1e3:.0f}"
    else:
        yield from ("", "", "", "")
    before, most = load.memory
    yield f"{most / 1024:.0f}"
    yield f"{(most - before) / load.browsers:,.0f}" if load.browsers else ""
    yield f"{median(load.connections):.0f}"
    yield f"{max(load.connections)}"


def _paths(host: Host, keys: list[int]) -> list[str]:
    return [host.path.format(key) for key in keys]


class _Sqlite:
    """A file of its own."""

    name = "SQLite"

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        options = {
            "timeout": 30,
            "init_command": "PRAGMA journal_mode = WAL",
            "transaction_mode": "IMMEDIATE",
        }
        self.url = f"sqlite+aiosqlite:///{path}"
        self.settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": self._path, "OPTIONS": options}

    @contextmanager
    def looking(self, pid: int) -> Iterator[Callable[[], int]]:
        """How many connections has this process? Each has the log open; of the file, SQLite keeps closed ones too."""
        yield lambda: sum(1 for link in _open_files(pid) if link == f"{self._path}-wal")


class _Postgres:
    """A database of its own; `pool` is Django's setting."""

    def __init__(self, url: str, *, pool: bool = False) -> None:
        self.name = "PostgreSQL, pool" if pool else "PostgreSQL"
        at = urlsplit(url)
        self._url = url.replace("+psycopg", "")
        self.url = url.replace("+psycopg", "+asyncpg")
        self.settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": at.path[1:],
            "HOST": at.hostname,
            "PORT": at.port,
            "USER": at.username,
            "OPTIONS": {"pool": pool},
        }

    @contextmanager
    def looking(self, pid: int) -> Iterator[Callable[[], int]]:  # noqa: ARG002 - nobody else uses the database
        """How many connections has it, but for the one that asks?"""
        asked = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"
        with psycopg.connect(self._url, autocommit=True) as connection:
            yield lambda: connection.execute(asked).fetchone()[0]


def _open_files(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            yield str(entry.readlink())


def _kib(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status tells no VmRSS: the memory is measured on Linux alone")
    return int(found[1])
