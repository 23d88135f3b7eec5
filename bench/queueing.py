"""Turns in the workers of task queues: how many a second, and what becomes of them while workers are killed.

One worker runs eight turns at once. `QUEUED=100` in the environment sends so many turns; by default 40.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fix_queues import QUEUES, QueuedApp
from fix_valkey import running_valkey

from opencode_sessions import Client, OpencodeServer

_SENT = int(os.environ.get("QUEUED", "40"))
_SLOTS = 8
_LIFE = 2.0
"""Seconds for which a worker lives that is killed, from the first turn that it begins."""
_PATIENCE = 600
_numbers = itertools.count()


def measure(server: OpencodeServer, new_database: Callable[[], str]) -> list[tuple[str, ...]]:
    """Each queue with a database of its own.

    Args:
        server: The real one.
        new_database: Makes an empty PostgreSQL database, and gives its URL.
    """
    found: list[tuple[str, ...]] = [
        (f"{_SENT} turns, {_SLOTS} at once", "turns a second", "killed workers", "lost", "repeated")
    ]
    with running_valkey() as valkey:
        for name in ("celery", "procrastinate", "dramatiq", "taskiq", "dbos"):
            with _app(name, valkey.url, new_database(), server) as app:
                pace = _pace(app)
            with _app(name, valkey.url, new_database(), server) as app:
                killed, rows = _while_killed(app)
            lost = sum(row.status != "completed" for row in rows)
            found.append((name, f"{pace:.1f}", str(killed), str(lost), str(_repeated(server, rows))))
    return found


@contextmanager
def _app(name: str, valkey: str, database: str, server: OpencodeServer) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        number = next(_numbers)
        app = QueuedApp(QUEUES[name], f"{valkey}/{number}", database, server, Path(folder), slots=_SLOTS)
        app.python("act.py", "tables")
        if app.queue.schema:
            app.python(*app.queue.schema)
        try:
            yield app
        finally:
            app.end()


def _pace(app: QueuedApp) -> float:
    app.work()
    app.ended(*app.send("first"))  # the worker has started
    app.act("send_apart", ["hello"] * _SENT)
    rows = [row for row in _all_ended(app).values() if row.prompt == "hello"]
    took = max(row.finished_at for row in rows) - min(row.started_at for row in rows)
    return _SENT / float(took.total_seconds())


def _while_killed(app: QueuedApp) -> tuple[int, list[Any]]:
    app.act("send_apart", ["!slow 0.2\n!say one two three four five six"] * _SENT)
    app.recover()
    killed = 0
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (before := _unfinished(app)):
        worker = app.work()
        while _unfinished(app) and _unfinished(app) == before and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(_LIFE)
        app.kill(worker)
        killed += 1
    return killed, list(app.rows().values())


def _unfinished(app: QueuedApp) -> dict[int, int]:
    """The epochs of those that have no end."""
    rows = app.rows().values()
    return {row.id: row.opencode_turn_epoch for row in rows if row.status in ("pending", "streaming")}


def _all_ended(app: QueuedApp) -> dict[int, Any]:
    for key in app.rows():
        app.ended(key)
    return dict(app.rows())


def _repeated(server: OpencodeServer, rows: list[Any]) -> int:
    """How many sessions have more than the one prompt, or more than one answer."""
    with Client(server.url, password=server.password) as client:
        return sum(len(client.messages(row.opencode_prompt_session_id)) > 2 for row in rows)
