from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from selection import sample

from opencode_sessions.errors import ConfigurationError, ServerNotInstalledError, ServerStartError
from opencode_sessions.server.managed import OpencodeServer
from opencode_sessions.server.process_tree import ProcessTree


def call(server, method, path, **arguments):
    answer = httpx2.request(
        method, server.url + path, auth=(server.username, server.password), timeout=60, **arguments
    )
    answer.raise_for_status()
    return answer


def lives(pid):
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def run_command_of_the_agent(server, pid_file):
    """Have the agent run a command that never ends; its process id."""
    session = call(server, "POST", "/session", json={}).json()["id"]
    command = json.dumps({"command": f"echo $$ > {pid_file}; sleep 300", "description": "waits"})
    parts = [{"type": "text", "text": f"!tool bash {command}"}]
    call(server, "POST", f"/session/{session}/prompt_async", json={"parts": parts})
    assert eventually(lambda: pid_file.exists() and pid_file.read_text().strip())
    return int(pid_file.read_text())


def stand_in(folder, script):
    """An `opencode` that does not come up."""
    binary = folder / "opencode"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return binary


def test_it_answers_to_its_password_only(server):
    assert call(server, "GET", "/global/health").json() == {"healthy": True, "version": server.version}
    assert httpx2.get(f"{server.url}/global/health", timeout=100).status_code == 401
    wrong = ("opencode", "wrong")
    assert httpx2.get(f"{server.url}/global/health", auth=wrong, timeout=100).status_code == 401


def test_its_environment_leads_a_client_to_it(server):
    found = server.environment()
    answer = httpx2.get(
        f"{found['OPENCODE_BASE_URL']}/global/health",
        auth=(found["OPENCODE_SERVER_USERNAME"], found["OPENCODE_SERVER_PASSWORD"]),
        timeout=100,
    )
    assert answer.json()["healthy"] is True


def test_its_repr_names_its_address_and_not_its_password(server):
    assert server.url in repr(server)
    assert server.password not in repr(server)


def test_it_works_in_its_own_folders(server):
    paths = call(server, "GET", "/path").json()
    assert Path(paths["directory"]) == server.directory == server.data / "work"
    assert all(Path(paths[name]).is_relative_to(server.data) for name in ("home", "state", "config"))


def test_a_server_with_an_empty_catalogue_knows_the_configured_models_only(server):
    assert server.models == {}
    assert [each["id"] for each in call(server, "GET", "/provider").json()["all"]] == ["scripted"]


@pytest.mark.full
def test_a_directory_takes_no_threads_of_its_own(own_server, tmp_path):
    server = own_server()

    def threads_after_a_turn_in(name):
        (tmp_path / name).mkdir()
        place = {"directory": str(tmp_path / name)}
        session = call(server, "POST", "/session", params=place, json={}).json()["id"]
        parts = {"parts": [{"type": "text", "text": "hello"}]}
        call(server, "POST", f"/session/{session}/message", params=place, json=parts)
        return sum("fff" in each.read_text() for each in Path(f"/proc/{server.pid}/task").glob("*/comm"))

    assert [threads_after_a_turn_in(name) for name in ("one", "two")] == [0, 0]


@pytest.mark.full
def test_the_data_folder_is_closed_to_other_users(own_server, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    assert stat.S_IMODE(own_server(data=data).data.stat().st_mode) == 0o700
    assert stat.S_IMODE(own_server().data.stat().st_mode) == 0o700


@pytest.mark.full
def test_the_files_of_the_server_are_its_users_alone(own_server):
    server = own_server()
    database = server.data / ".local" / "share" / "opencode" / "opencode.db"
    for path in (database, server.log_path, server.data / "models.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_has_the_configuration_given_and_the_callers_keys_but_none_of_the_callers_opencode(
    own_server, monkeypatch, tmp_path
):
    monkeypatch.setenv("OPENCODE_CONFIG_CONTENT", '{"username": "the caller"}')
    monkeypatch.setenv("OPENCODE_CONFIG", str(tmp_path / "no-such-file.json"))
    monkeypatch.setenv("A_PROVIDER_KEY", "from the caller")
    monkeypatch.setenv("ANOTHER_KEY", "from the caller")
    server = own_server(
        config={"username": "the host"},
        pass_env=["A_PROVIDER_KEY"],
        env={"ANOTHER_KEY": "from the host"},
        username="somebody",
        directory=tmp_path,
    )
    environ = Path(f"/proc/{server.pid}/environ").read_bytes().decode().split("\0")
    assert "A_PROVIDER_KEY=from the caller" in environ
    assert "ANOTHER_KEY=from the host" in environ
    assert not any(line.startswith("OPENCODE_CONFIG=") for line in environ)
    assert call(server, "GET", "/config").json()["username"] == "the host"
    assert Path(call(server, "GET", "/path").json()["directory"]) == tmp_path


@pytest.mark.full
def test_stop_ends_the_server_removes_its_temporary_folder_and_may_be_repeated(own_server):
    server = own_server()
    pid, data = server.pid, server.data
    assert server.running
    server.stop()
    server.stop()
    assert not server.running
    assert not lives(pid)
    assert not data.exists()
    with pytest.raises(ConfigurationError, match="start"):
        _ = server.pid


@pytest.mark.full
def test_a_restart_after_a_kill_has_the_same_port_password_and_sessions(own_server, tmp_path):
    server = own_server(data=tmp_path)
    session = call(server, "POST", "/session", json={"title": "kept"}).json()["id"]
    before = server.environment(), server.pid
    server.kill()
    assert not server.running
    server.restart()
    assert server.environment() == before[0]
    assert server.pid != before[1]
    assert call(server, "GET", f"/session/{session}").json()["title"] == "kept"


@pytest.mark.parametrize("way", sample(["stop", "kill", "kill after the server died"], "kill"))
def test_what_an_agent_runs_ends_with_its_server(own_server, tmp_path, way):
    server = own_server()
    command = run_command_of_the_agent(server, tmp_path / "pid")
    assert os.getsid(command) != os.getsid(server.pid)  # why to kill the process group is not enough
    if way == "stop":
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 60
    else:
        if way != "kill":
            os.kill(server.pid, signal.SIGKILL)
            assert eventually(lambda: not server.running)
            assert lives(command)
        server.kill()
    assert not lives(command)


@pytest.mark.parametrize("way", sample(["exit", "SIGTERM", "SIGKILL"], "SIGKILL"))
def test_a_server_does_not_outlive_the_process_that_started_it(tmp_path, way):
    script = (
        "import os, sys\n"
        "from opencode_sessions.server.managed import OpencodeServer\n"
        f"server = OpencodeServer(data={str(tmp_path)!r}).start()\n"
        "if os.fork() == 0:\n"
        "    sys.exit()\n"  # a fork that ends must not take the server along
        "os.wait()\n"
        "print(server.pid, server.running, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        pid, running = host.stdout.readline().split()
        assert running == "True"
        assert lives(pid)
        if way != "exit":
            host.send_signal(signal.Signals[way])
    assert eventually(lambda: not lives(pid))


def test_a_second_server_on_one_data_folder_is_refused(server, own_server):
    with pytest.raises(ServerStartError, match=f"process {os.getpid()} holds the data folder {server.data}"):
        own_server(data=server.data)
    assert call(server, "GET", "/global/health").json()["healthy"] is True


@pytest.mark.full
def test_the_lock_of_a_dead_process_does_not_block(own_server, tmp_path):
    hold = (
        "import time; from pathlib import Path; from opencode_sessions.server.data_folder import DataFolder\n"
        f"folder = DataFolder(Path({str(tmp_path)!r})); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ServerStartError, match=f"process {holder.pid} holds"):
            own_server(data=tmp_path)
        holder.kill()
    assert own_server(data=tmp_path).running


def test_a_port_that_is_taken_is_said(own_server):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerStartError, match=f"port {port} .*in use.*port 0"):
            own_server(port=port)


@pytest.mark.full
def test_a_server_may_have_a_port_of_ones_choice(own_server):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    server = own_server(port=port)
    assert server.url == f"http://127.0.0.1:{port}"
    assert call(server, "GET", "/global/health").json()["healthy"] is True


def test_a_server_that_dies_at_its_start_is_reported_with_the_tail_of_its_log(own_server, tmp_path):
    binary = stand_in(tmp_path, "echo no database today; exit 3")
    log = tmp_path / "logs" / "server.log"
    with pytest.raises(ServerStartError, match="exit code 3") as raised:
        own_server(binary=binary, log=log)
    assert raised.value.log_tail == "no database today"
    assert log.read_text() == "no database today\n"


def test_a_server_that_never_answers_is_given_up_and_ended(own_server, tmp_path, monkeypatch):
    started = []

    class Noted(ProcessTree):
        def __init__(self, *command, **options):
            super().__init__(*command, **options)
            started.append(self.pid)

    monkeypatch.setattr("opencode_sessions.server.managed.ProcessTree", Noted)
    binary = stand_in(tmp_path, "exec sleep 300")
    with pytest.raises(ServerStartError, match=r"did not answer at .* within 0.4 s"):
        own_server(binary=binary, startup_timeout=0.4)
    (pid,) = started
    assert not lives(pid)


def test_a_failed_start_leaves_neither_lock_nor_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    broken = OpencodeServer(binary=stand_in(tmp_path, "exit 1"))
    with pytest.raises(ServerStartError):
        broken.start()
    assert [path.name for path in tmp_path.iterdir()] == ["opencode"]


def test_a_missing_binary_is_said_before_anything_is_made(tmp_path):
    data = tmp_path / "data"
    with pytest.raises(ServerNotInstalledError, match="npm install opencode-ai"):
        OpencodeServer(binary=tmp_path / "opencode", data=data).start()
    assert not data.exists()


def test_a_working_directory_that_is_missing_is_said(tmp_path):
    server = OpencodeServer(directory=tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="missing does not exist"):
        server.start()


@pytest.mark.full
def test_a_server_runs_once(own_server):
    with pytest.raises(ConfigurationError, match="started already"):
        own_server().start()


def test_what_needs_a_running_server_says_so():
    server = OpencodeServer()
    for name in ("url", "port", "pid", "version", "data", "directory", "log_path"):
        with pytest.raises(ConfigurationError, match="start"):
            getattr(server, name)
    with pytest.raises(ConfigurationError, match="start"):
        server.restart()
