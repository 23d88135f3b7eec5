"""Limits on the turns at a time, of a server and of a user, hold in all processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from host_rows import Rows, urls_of

from opencode_sessions import Client

FIXTURES = Path(__file__).parents[1] / "fixtures"
SLOW = "!slow 0.1\n!say one two three four five"
MOST = 2


@pytest.fixture
def rows(request, server, tmp_path):
    with Rows(server, urls_of(request, tmp_path, "sqlite")[0]) as rows:
        yield rows


@pytest.fixture
def worker(rows, server):
    """Starts a process that runs what it finds."""
    running = []

    def start(limit=None, **of_server):
        said = {
            "database": rows.engine.url.render_as_string(hide_password=False),
            "servers": {"default": {"url": server.url, "password": server.password, **of_server}},
        }
        if limit is not None:
            said["limit"] = limit
        running.append(
            subprocess.Popen(
                [sys.executable, FIXTURES / "limited_worker.py", json.dumps(said)],
                env={**os.environ, "PYTHONPATH": str(FIXTURES)},
            )
        )
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.wait()


@pytest.mark.parametrize(
    "limits", [pytest.param({"turns": MOST}, id="server", marks=pytest.mark.full), {"limit": {"turns": MOST}}]
)
def test_two_processes_run_no_more_turns_at_once_than_may(rows, server, worker, held, limits):
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    waiting = [rows.add(SLOW, opencode_turn_lease=long_ago, opencode_turn_order=1) for _ in range(MOST + 2)]
    worker(**limits), worker(**limits)
    seen, deadline = set(), time.monotonic() + 200
    with Client(server.url, password=server.password) as client:
        while any(rows.row(message).status in ("pending", "streaming") for message in waiting):
            found = [rows.row(message) for message in waiting]
            seen.add(len({row.opencode_prompt_session_id for row in found} & set(client.status())))
            if MOST in seen and sum(row.opencode_turn_parked for row in found) == len(waiting) - MOST:
                held.set()  # they run at once, and the others were refused
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert {rows.row(message).status for message in waiting} == {"completed"}
    assert max(seen) == MOST
