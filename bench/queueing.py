"""Turns in the workers of task queues: how soon, how many a second, and what becomes of them while workers are killed.

One worker runs eight turns at once, on the real OpenCode server with a scripted model. Each measurement has a server
and a database of its own. In the environment, `QUEUES=celery,dbos` chooses queues, `QUEUED=1000` sends so many turns,
and `KILLED=100` so many while workers are killed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from fix_queues import QUEUES, Queue, QueuedApp
from fix_valkey import running_valkey

from opencode_sessions import Client, OpencodeServer
from opencode_sessions.testing import ScriptedModel
from opencode_sessions.wire.memory import group_memory

_SENT = int(os.environ.get("QUEUED", "200"))
_KILLED = int(os.environ.get("KILLED", "60"))
_ALONE = 30
_SLOTS = 8
_LIFE = 2.0
"""Seconds for which a worker lives that is killed, from the first turn that it begins."""

_PATIENCE = 1800.0
_PENDING_LEASE = "lambda: opencode, pending_lease=20"
"""Workers are killed with jobs that they have fetched: these would wait for the ten minutes of the library."""

_LONG = "!slow 0.2\n!say one two three four five six"
_THREADS = {"celery": ("--pool", "threads")}
_ALL = {
    "built-in": Queue("pool_app", None, ("pool_app.py",)),
    **{name: queue for name, queue in QUEUES.items() if name != "celery-rabbitmq"},
}

Parts = tuple[str, Callable[[], str]]
"""The URL of a broker, and what makes a database."""


def measure(new_database: Callable[[], str]) -> list[tuple[str, ...]]:
    """All queues, or those that `QUEUES` names.

    Args:
        new_database: Makes an empty PostgreSQL database, and gives its URL.
    """
    columns: dict[str, str] = {}
    found: list[tuple[str, ...]] = []
    with running_valkey() as valkey:
        for number, name in enumerate(os.environ.get("QUEUES", ",".join(_ALL)).split(",")):
            parts = f"{valkey.url}/{number}", new_database
            columns = _alone(name, parts) | _together(name, parts) | _while_killed(name, parts)
            found.append((name, *columns.values()))
            print(found[-1], file=sys.stderr, flush=True)  # the others take minutes
    return [("eight turns at once", *columns), *found]


def _alone(name: str, parts: Parts) -> dict[str, str]:
    """Turns that are enqueued one after the other, each when the one before has ended; the first starts a worker."""
    with _app(name, parts) as (app, _):
        if name != "built-in":  # which runs in the process that enqueues
            _work(app, name)
        app.act("send_singly", ["hello"] * (1 + _ALONE))
        _, *waited = [_seconds(row.enqueued_at, row.started_at) for _, row in sorted(app.rows().items())]
    return {
        "delay, median, ms": f"{median(waited) * 1e3:.0f}",
        "99th %, ms": f"{quantiles(waited, n=100)[98] * 1e3:.0f}",
    }


def _together(name: str, parts: Parts) -> dict[str, str]:
    """Turns that are all enqueued before the worker starts."""
    with _app(name, parts) as (app, _):
        _send(app, ["hello"] * _SENT)
        worker = _work(app, name)
        _wait(app, worker, lambda: _ended(app) >= _SENT // 20)
        before, memory, cpu = _ended(app), group_memory(worker.pid) or 0, _cpu(worker.pid)
        _wait(app, worker, lambda: _ended(app) == _SENT)
        grown, spent = group_memory(worker.pid) or 0, _cpu(worker.pid) - cpu
        rows = _rows(app)
    took = _seconds(min(row.started_at for row in rows), max(row.finished_at for row in rows))
    return {
        "turns a second": f"{_SENT / took:.1f}",
        "CPU, ms a turn": f"{spent / (_SENT - before) * 1e3:.0f}",
        "memory, MB": f"{memory / 1e6:.0f}",
        f"after {_SENT:,}, to that": f"{grown / memory:.2f}",
    }


def _while_killed(name: str, parts: Parts) -> dict[str, str]:
    with _app(name, parts) as (app, server):
        for path in app.folder.glob("*_app.py"):
            path.write_text(path.read_text().replace("lambda: opencode", _PENDING_LEASE))
        _send(app, [_LONG] * _KILLED)
        app.recover()
        killed = 0
        while _ended(app) < _KILLED:
            worker = _work(app, name)
            begun = _begun(app)
            _wait(app, worker, lambda: _begun(app) > begun or _ended(app) == _KILLED)  # noqa: B023 - called here
            time.sleep(_LIFE)
            app.kill(worker)
            killed += 1
        rows = _rows(app)
        with Client(server.url, password=server.password) as client:
            prompts = [_prompts(client, row.opencode_prompt_session_id) for row in rows]
    return {
        "killed": str(killed),
        f"lost of {_KILLED:,}": str(sum(row.status != "completed" for row in rows)),
        "run again": str(sum(row.opencode_turn_epoch > 1 for row in rows)),
        "prompted twice": str(sum(count > 1 for count in prompts)),
    }


@contextmanager
def _app(name: str, parts: Parts) -> Iterator[tuple[Any, OpencodeServer]]:
    broker, new_database = parts
    with (
        tempfile.TemporaryDirectory() as folder,
        ScriptedModel() as model,
        OpencodeServer(config=model.config(), models={}, startup_timeout=300) as server,
    ):
        app: Any = QueuedApp(_ALL[name], broker, server, Path(folder), slots=_SLOTS)
        app.use(new_database())
        app.make_tables()
        try:
            yield app, server
        finally:
            app.end()


def _send(app: Any, prompts: list[str]) -> None:
    """Enqueue each in a conversation of its own. The built-in queue has its worker find them."""
    app.act("send_apart", prompts, app="left_app" if app.queue.app == "pool_app" else None)


def _work(app: Any, name: str) -> Any:
    return app.work(*_THREADS.get(name, ()))


def _wait(app: Any, worker: Any, found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not found():
        if worker.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{_ended(app)} turns have ended, and then:\n{worker.log.read_text()[-3000:]}")
        time.sleep(0.1)


def _rows(app: Any) -> list[Any]:
    return list(app.rows().values())


def _ended(app: Any) -> int:
    return sum(row.status not in ("pending", "streaming") for row in _rows(app))


def _begun(app: Any) -> int:
    """How often a turn was begun, in all."""
    return sum(row.opencode_turn_epoch for row in _rows(app))


def _prompts(client: Client, session_id: str) -> int:
    return sum(each.info.role == "user" for each in client.messages(session_id))


def _seconds(since: Any, until: Any) -> float:
    return float((until - since).total_seconds())


def _cpu(group: int) -> float:
    """Seconds that the processes of a group have spent."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
