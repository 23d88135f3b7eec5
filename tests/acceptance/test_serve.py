from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx2
import pytest
from fix_cli import PATIENCE, CommandLine, eventually, read_until

from opencode_sessions import Client, ServerUnreachableError, WireError, new_session_id


def children_of(pid):
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [line.split(maxsplit=1) for line in found.stdout.splitlines()]


def server_of(process):
    """The pid of the OpenCode server that a `serve` runs."""
    [pid] = [int(pid) for pid, command in children_of(process.pid) if " serve " in command]
    return pid


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_serve_says_how_it_is_reached_and_where_its_things_lie(bare):
    with bare.start("serve", "--offline", "--data", "here") as process:
        said = read_until(process, "opencode-sessions chat\n")
        data = bare.folder / "here"
        for path in (data, data / "work", data / "server.log"):
            assert path.exists()
            assert str(path) in said
        assert "export OPENCODE_BASE_URL=http://127.0.0.1:" in said
        assert "export OPENCODE_SERVER_PASSWORD=" in said

        second = bare.run("serve", "--offline", "--data", "here")
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert f"process {process.pid} " in second.stderr
        assert str(data) in second.stderr

        os.kill(server_of(process), signal.SIGKILL)
        _, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "the server ended by itself" in complaint
    assert "opencode server listening on" in complaint  # the end of its log


@pytest.mark.full
def test_serve_takes_the_password_of_the_environment_and_stops_all_that_it_started(tmp_path):
    mine = CommandLine(tmp_path, OPENCODE_SERVER_PASSWORD="hunter2")
    with mine.start("serve", "--offline") as process:
        said = read_until(process, "opencode-sessions chat\n")
        assert "hunter2" not in said
        url = next(line for line in said.splitlines() if "OPENCODE_BASE_URL" in line).partition("=")[2]
        with Client(url, password="hunter2") as client:
            assert client.health().version
        server = server_of(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        eventually(lambda: not is_alive(server))
        with Client(url, password="hunter2") as client, pytest.raises(ServerUnreachableError):
            client.health()


@pytest.mark.full
def test_serve_takes_a_configuration_and_variables_for_the_agents_commands(tmp_path):
    mine = CommandLine(tmp_path, OPENCODE_SERVER_PASSWORD="hunter2", SECRET_OF_THE_APP="hunter3")
    (tmp_path / "opencode.json").write_text(json.dumps({"username": "Mara", "instructions": ["rules.md"]}))
    options = ("--config", "opencode.json", "--env", "AGENT_FOLDERS=/srv/agents", "--no-catalogue")
    with mine.start("serve", "--offline", *options) as process:
        said = read_until(process, "opencode-sessions chat\n")
        url = next(line for line in said.splitlines() if "OPENCODE_BASE_URL" in line).partition("=")[2]
        with httpx2.Client(base_url=url, auth=("opencode", "hunter2"), timeout=100) as http:
            found = http.get("/config").json()
        variables = Path(f"/proc/{server_of(process)}/environ").read_text().split("\0")
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert (found["username"], found["instructions"]) == ("Mara", ["rules.md"])
    assert found["plugin"][0].endswith("/guard.js")
    assert "AGENT_FOLDERS=/srv/agents" in variables
    assert not any("hunter3" in each for each in variables)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--config", "nowhere.json", "nowhere.json cannot be read as JSON"),
        ("--config", "list.json", "list.json must have an object"),
        ("--env", "AGENT_FOLDERS", "write NAME=VALUE, not AGENT_FOLDERS"),
    ],
)
def test_an_option_of_serve_that_cannot_work_is_refused(bare, option, value, said):
    (bare.folder / "list.json").write_text("[]")
    done = bare.run("serve", "--offline", option, value)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", "").split())


@pytest.mark.full
@pytest.mark.parametrize(
    ("size", "code", "said"),
    [
        ("lots", 2, "write it like 500M or 2G, not lots"),
        ("50M", 1, "recycle_at is 52 MB, and opencode takes"),
    ],
)
def test_a_limit_of_memory_that_cannot_work_is_refused(bare, size, code, said):
    done = bare.run("serve", "--offline", "--recycle-at", size)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_serve_restarts_a_server_whose_memory_exceeds_the_limit(tmp_path):
    mine = CommandLine(tmp_path, OPENCODE_SERVER_PASSWORD="hunter2")
    with mine.start("serve", "--offline", "--recycle-at", "450M") as process:
        url = next(
            line.partition("=")[2]
            for line in read_until(process, "opencode-sessions chat\n").splitlines()
            if "OPENCODE_BASE_URL" in line
        )
        before = server_of(process)
        with Client(url, password="hunter2") as client:
            for number in range(100):
                if str(before) not in [pid for pid, _ in children_of(process.pid)]:
                    break
                (tmp_path / str(number)).mkdir()
                with contextlib.suppress(WireError):  # it is restarted in this instant
                    session_id = client.create(new_session_id(), directory=str(tmp_path / str(number))).id
                    client.prompt(session_id, "hello")
        read_until(process, "restarted, as its memory exceeded --recycle-at")
        with Client(url, password="hunter2") as client:
            assert client.get(session_id).id == session_id
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


@pytest.mark.full
def test_serve_listens_where_it_is_told_and_waits_as_long_as_it_is_told(bare):
    with bare.start("serve", "--offline", "--host", "127.0.0.2", "--start-timeout", "120") as process:
        assert "export OPENCODE_BASE_URL=http://127.0.0.2:" in read_until(process, "opencode-sessions chat\n")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def test_a_port_that_is_taken_is_one_sentence(bare):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken_port = taken.getsockname()[1]
        done = bare.run("serve", "--offline", "--port", taken_port)
    assert done.returncode == 1
    assert f"port {taken_port}" in done.stderr
    assert done.stderr.count("\n") == 1
