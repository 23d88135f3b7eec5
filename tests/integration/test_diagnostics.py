"""What a doctor sees of a server: the real one."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate

import httpx2
import pytest
from fix_cli import eventually

from opencode_sessions import Client, ServerUnreachableError, allow
from opencode_sessions.server import diagnostics
from opencode_sessions.server.binary import find_binary
from opencode_sessions.server.diagnostics import (
    State,
    look_at_busy,
    look_at_clocks,
    look_at_guard,
    look_at_memory,
    look_at_project_config,
)
from opencode_sessions.wire.memory import local_server


def look(server):
    return look_at_project_config(lambda: Client(server.url, password=server.password))


@pytest.mark.full
def test_a_server_that_obeys_the_folder_of_an_agent_is_warned_of(own_server):
    finding = look(own_server(project_config=True))
    assert finding.state is State.WARNING
    assert "obeys opencode.json" in finding.found
    assert "OPENCODE_DISABLE_PROJECT_CONFIG=true and OPENCODE_DISABLE_EXTERNAL_SKILLS=true" in finding.mend


def test_a_server_that_ignores_the_folder_of_an_agent_is_in_order(server):
    finding = look(server)
    assert (finding.state, finding.mend) == (State.OK, "")
    assert "ignores opencode.json" in finding.found


@pytest.fixture
def started_by_hand(tmp_path, free_tcp_port):
    """The URL of a plain `opencode serve`, without the plugin."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OPENCODE_SERVER_PASSWORD": "hunter2",
        "OPENCODE_MODELS_PATH": str(tmp_path / "models.json"),
        "OPENCODE_DISABLE_MODELS_FETCH": "true",
    }
    (tmp_path / "models.json").write_text("{}")
    command = [find_binary(), "serve", "--hostname", "127.0.0.1", "--port", str(free_tcp_port)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log) as process,
    ):
        yield f"http://127.0.0.1:{free_tcp_port}"
        process.kill()


@pytest.mark.full
def test_a_server_without_the_plugin_is_warned_of(started_by_hand):
    def make_client():
        return Client(started_by_hand, password="hunter2")

    def answers():
        with make_client() as client, suppress(ServerUnreachableError):
            return client.health()

    eventually(answers)
    finding = look_at_guard(make_client)
    assert finding.state is State.WARNING
    assert "does not load this library's plugin" in finding.found
    assert "`opencode-sessions serve`" in finding.mend


@pytest.mark.full
def test_a_server_that_makes_snapshots_is_warned_of(own_server):
    server = own_server(config={"snapshot": True})
    finding = look_at_guard(lambda: Client(server.url, password=server.password))
    assert finding.state is State.WARNING
    assert '"snapshot": false' in finding.mend


def test_a_server_that_the_library_starts_is_guarded(server):
    finding = look_at_guard(lambda: Client(server.url, password=server.password))
    assert (finding.state, finding.mend) == (State.OK, "")


class OfAnotherTime(httpx2.HTTPTransport):
    """The real transport to a server whose clock is an hour ahead, or that does not say its time."""

    def __init__(self, date):
        super().__init__()
        self._date = date

    def handle_request(self, request):
        answer = super().handle_request(request)
        del answer.headers["date"]
        if self._date:
            answer.headers["date"] = self._date
        return answer


@pytest.mark.parametrize(
    ("date", "found"),
    [
        (lambda: formatdate(time.time() + 3600), r"the server's is 3,[56]\d\d s ahead of this machine's"),
        (lambda: formatdate(time.time() - 86400), r"the server's is 86,[345]\d\d s behind this machine's"),
        (lambda: "", "does not say its time"),
        (lambda: "yesterday", "does not say its time"),
    ],
)
def test_clocks_that_differ_are_warned_of(server, date, found):
    def make_client():
        return Client(server.url, password=server.password, transport=OfAnotherTime(date()))

    finding = look_at_clocks(make_client)
    assert finding.state is State.WARNING
    assert re.search(found, finding.found)


@pytest.mark.parametrize("usegmt", [True, False])
@pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Tokyo"])
def test_the_time_zone_of_the_process_makes_no_difference(server, monkeypatch, zone, usegmt):
    monkeypatch.setenv("TZ", zone)  # as Django does with its TIME_ZONE
    time.tzset()
    try:
        transport = OfAnotherTime(formatdate(time.time(), usegmt=usegmt))
        finding = look_at_clocks(lambda: Client(server.url, password=server.password, transport=transport))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert finding.state is State.OK


def test_clocks_that_agree_are_in_order(server):
    finding = look_at_clocks(lambda: Client(server.url, password=server.password))
    assert (finding.state, finding.mend) == (State.OK, "")


class OfAnotherMachine(httpx2.HTTPTransport):
    """The real transport to a server that has no folder where this machine has one."""

    def handle_request(self, request):
        if "directory" in request.url.params:
            request.url = request.url.copy_set_param("directory", "/nowhere/to/be/seen")
        return super().handle_request(request)


def test_a_server_that_does_not_see_the_folder_is_not_judged(server):
    def make_client():
        return Client(server.url, password=server.password, transport=OfAnotherMachine())

    finding = look_at_project_config(make_client)
    assert finding.state is State.WARNING
    assert "could not be seen: the server does not see" in finding.found


@pytest.fixture
def busy_session(server, tmp_path):
    """A session that works, in a directory of its own, and a sub-agent's that does."""
    with Client(server.url, password=server.password) as client:
        made = client.create(title="left\x1b behind", rules=[allow("*")], directory=str(tmp_path))
        child = client.create(title="sub-agent", parent_id=made.id, directory=str(tmp_path))
        for session_id in (made.id, child.id):
            client.prompt(session_id, "!slow 600\n!say x")
        eventually(lambda: {made.id, child.id} <= client.status(directory=str(tmp_path)).keys())
        yield made
        client.stop(child.id)
        client.stop(made.id)


def look_for_strays(server, *running):
    return look_at_busy(
        lambda: Client(server.url, password=server.password), running=lambda: running, stray="stop it"
    )


def test_a_busy_session_in_which_no_turn_runs_is_warned_of(server, busy_session):
    finding = look_for_strays(server)
    assert (finding.state, finding.mend) == (State.WARNING, "stop it")
    assert f"{busy_session.id} (left‹\\x1b› behind, in {busy_session.directory})" in finding.found
    assert "sub-agent" not in finding.found


def test_a_busy_session_in_which_a_turn_runs_is_in_order(server, busy_session):
    assert busy_session.id not in look_for_strays(server, busy_session.id).found


def test_a_turn_that_begins_while_it_is_looked_for_is_no_stray(server, busy_session):
    rows = [[], [busy_session.id]]
    finding = look_at_busy(
        lambda: Client(server.url, password=server.password), running=lambda: rows.pop(0), stray="stop it"
    )
    assert busy_session.id not in finding.found
    assert not rows


def test_the_memory_and_the_database_of_a_server_on_this_machine_are_told(server):
    finding = look_at_memory(lambda: Client(server.url, password=server.password))
    assert (finding.state, finding.mend) == (State.OK, "")
    said = rf"[\d.,]+ [MG]B of [\d.,]+ GB \(process {server.pid}\); its database has [\d,.]+ [MG]B"
    assert re.fullmatch(said, finding.found)
    seen = local_server(server.url)
    assert seen.database == server.data / ".local/share/opencode/opencode.db"
    assert seen.database_size() >= seen.database.stat().st_size


def test_a_server_that_takes_half_of_the_machine_is_warned_of(server, monkeypatch):
    small = replace(local_server(server.url), machine=100_000_000)
    monkeypatch.setattr(diagnostics, "local_server", lambda _: small)
    finding = look_at_memory(lambda: Client(server.url, password=server.password))
    assert finding.state is State.WARNING
    assert "--recycle-at" in finding.mend


@pytest.mark.parametrize(
    "elsewhere", ["http://192.0.2.1:4096", "http://nowhere.invalid", "http://127.0.0.1:9"]
)
def test_the_memory_of_a_server_that_is_not_on_this_machine_is_not_told(elsewhere):
    finding = look_at_memory(lambda: Client(elsewhere))
    assert finding.state is State.OK
    assert "not seen" in finding.found


def test_the_folder_is_gone_afterwards(server, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    look(server)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_answer_is_not_judged():
    finding = look_at_project_config(lambda: Client("http://127.0.0.1:9"))
    assert finding.state is State.WARNING
    assert "could not be seen: no OpenCode server" in finding.found
