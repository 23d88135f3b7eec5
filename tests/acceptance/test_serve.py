from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest
from fix_cli import PATIENCE, CommandLine, eventually, read_until

from opencode_sessions import Client, ServerUnreachableError


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


def test_a_port_that_is_taken_is_one_sentence(bare):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken_port = taken.getsockname()[1]
        done = bare.run("serve", "--offline", "--port", taken_port)
    assert done.returncode == 1
    assert f"port {taken_port}" in done.stderr
    assert done.stderr.count("\n") == 1
