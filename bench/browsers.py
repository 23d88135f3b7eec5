"""What it costs one ASGI process to show the 20 turns that it runs to 100 browsers, with Django and with FastAPI.

A delay is from the server's write of a delta to the arrival of the event that shows it in a browser. It contains what
the view waits on purpose: a part of an answer is sent at most every tenth of a second, with all that came meanwhile.
On a busy machine it waits longer, as the drawing of a turn may take a tenth of the time at most: compare quiet runs.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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

_TURNS = 20
_BROWSERS = 100
_SECONDS = 3.0
"""That a turn takes, which makes some twenty-five deltas a second of each."""

_LOOKS = 0.1


@dataclass
class Load:
    """What one process bore.

    Attributes:
        cpu: Of its seconds, those that it computed.
        memory: In KiB, before, and at most.
        connections: To its database, at each look.
        watched: By its browsers.
    """

    cpu: float = 0.0
    memory: tuple[int, int] = (0, 0)
    connections: list[int] = field(default_factory=list)
    watched: Watched = field(default_factory=Watched)


def measure(server: OpencodeServer, new_database: Callable[[], str]) -> list[tuple[str, ...]]:
    """Six processes, each with a load of its own.

    Args:
        server: The real one, for what is replayed.
        new_database: Makes an empty PostgreSQL database, and gives its URL.
    """
    recording = record(server, stamped=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        replaying(recording, seconds=_SECONDS) as upstream,
        ExitStack() as stack,
    ):
        cases: list[tuple[int, str, _Sqlite | _Postgres]] = [
            (browsers, "Django", _Sqlite(Path(folder) / f"{browsers}.sqlite3"))
            for browsers in (0, _TURNS, _BROWSERS)
        ]
        cases += [(_BROWSERS, framework, _Postgres(new_database())) for framework in ("Django", "FastAPI")]
        cases.append((_TURNS, "FastAPI", _Sqlite(Path(folder) / "fastapi.sqlite3")))
        hosts = [
            stack.enter_context(
                django_host(upstream, database.settings, _TURNS)
                if framework == "Django"
                else fastapi_host(upstream, database.url, _TURNS)
            )
            for _, framework, database in cases
        ]
        _warm_up(hosts)
        loads = [
            _loaded(host, browsers, database, recording)
            for host, (browsers, _, database) in zip(hosts, cases, strict=True)
        ]
    return [
        ("browsers", *(f"{count}, {framework}, {database.name}" for count, framework, database in cases)),
        *_rows([browsers for browsers, _, _ in cases], loads, recording.deltas),
    ]


def _warm_up(hosts: list[Host]) -> None:
    """A turn and a browser in each, all at once: imports, templates, connections."""
    keys = [host.ask("make", "1 of 1", 1) for host in hosts]
    with ExitStack() as stack:
        for host, made in zip(hosts, keys, strict=True):
            stack.enter_context(watching(host.url, _paths(host, made)))
            host.ask("run", made)
        for host in hosts:
            host.ask("wait")


def _loaded(host: Host, browsers: int, database: Any, recording: Recording) -> Load:
    load = Load()
    keys = host.ask("make", f"{_TURNS} of {_TURNS}", _TURNS)
    paths = _paths(host, keys) * (browsers // _TURNS)
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
        load.cpu = (host.hear() - spent) / (time.monotonic() - began)
        load.memory = (before, most)
        if watched is not None:
            load.watched = watched.recv()
    answers = host.ask("answers", keys)
    if answers != [("completed", recording.text)] * _TURNS:
        raise RuntimeError(f"turns went wrong: {answers}")
    wrong = [end for end in load.watched.ends if b'"completed"' not in end]
    if wrong or len(load.watched.ends) != len(paths):
        raise RuntimeError(
            f"of {len(paths)} browsers {len(load.watched.ends)} saw an end, {len(wrong)} a wrong one"
        )
    return load


def _paths(host: Host, keys: list[int]) -> list[str]:
    return [host.path.format(key) for key in keys]


def _rows(browsers: list[int], loads: list[Load], deltas: int) -> list[tuple[str, ...]]:
    """A column for each load; the second one is what the others are compared with."""

    def row(name: str, tell: Callable[[int, Load], str]) -> tuple[str, ...]:
        return (name, *(tell(count, load) for count, load in zip(browsers, loads, strict=True)))

    def delay(name: str, figure: Callable[[list[int]], float]) -> tuple[str, ...]:
        one = figure(loads[1].watched.delays)

        def tell(count: int, load: Load) -> str:
            return f"{(took := figure(load.watched.delays)) / 1e6:.0f} ({took / one:.2f})" if count else ""

        return row(name, tell)

    return [
        row("MiB before", lambda _, load: f"{load.memory[0] / 1024:.0f}"),
        row("MiB at most", lambda _, load: f"{load.memory[1] / 1024:.0f}"),
        row("CPU, s a second", lambda _, load: f"{load.cpu:.2f} ({load.cpu / loads[1].cpu:.2f})"),
        delay("delay, median, ms", median),
        delay("delay, 99th %, ms", lambda took: quantiles(took, n=100)[98]),
        row("deltas shown", lambda n, load: f"{len(load.watched.delays) / (n * deltas):.0%}" if n else ""),
        row("KB sent to a browser", lambda n, load: f"{load.watched.read / n / 1e3:.0f}" if n else ""),
        row("connections, median", lambda _, load: f"{median(load.connections):.0f}"),
        row("connections, most", lambda _, load: f"{max(load.connections)}"),
    ]


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
    """A database of its own."""

    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._url = url.replace("+psycopg", "")
        self.url = url.replace("+psycopg", "+asyncpg")
        self.settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": at.path[1:],
            "HOST": at.hostname,
            "PORT": at.port,
            "USER": at.username,
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
