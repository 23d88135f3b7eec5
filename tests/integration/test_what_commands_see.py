"""What the commands of an agent see of the server, and of the process that started it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from fix_programs import find_program
from fix_server import LEAN

from opencode_sessions import TRUSTED, Client, Session, Turn
from opencode_sessions.server.binary import find_binary
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

SANDBOX = Path(__file__).parents[2] / "examples" / "sandbox" / "bash"
NOBODY = 65534


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    """What a host has in its environment."""
    for name in (
        "DATABASE_URL",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "BAKERY_KEY",
        "BAKERY_PLACE",
        "OPENCODE_X",
    ):
        monkeypatch.setenv(name, f"value-of-{name}")


def run(server, command, directory=None):
    """What the agent's shell says to this."""
    with Client(server.url, password=server.password, directory=directory and str(directory)) as client:
        session = Session(MemoryRecord("shell"), permissions_for=TRUSTED)
        arguments = json.dumps({"command": command, "description": "d"})
        result = Turn(MemoryMessage(f"!tool bash {arguments}"), session, client).run()
    assert result.status is TurnStatus.COMPLETED
    (tool,) = result.tools
    return tool["output"]


def variables(text):
    return {line.partition("=")[0]: line.partition("=")[2] for line in text.splitlines()}


def environment_of(server):
    return variables(Path(f"/proc/{server.pid}/environ").read_text().replace("\0", "\n"))


@pytest.fixture
def configured(scripted_model):
    """A configuration that names two providers of the internet, and refers to a variable."""
    config = scripted_model.config()
    return {
        **config,
        "small_model": "openai/small",
        "provider": {**config["provider"], "anthropic": {"name": "{env:BAKERY_KEY}"}},
    }


@pytest.mark.full
def test_the_server_gets_what_it_needs_and_what_is_passed_to_it(own_server, configured):
    server = own_server(config=configured, pass_env=["BAKERY_PLACE"], env={**LEAN["env"], "MORE": "more"})
    found = environment_of(server)
    needed = {name for name in found if name in os.environ and found[name] == os.environ[name]}
    assert {"PATH", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "BAKERY_KEY", "BAKERY_PLACE"} <= needed
    assert "DATABASE_URL" not in found
    assert "OPENCODE_X" not in found
    assert found["MORE"] == "more"


def test_commands_see_neither_keys_nor_the_password(own_server, configured):
    server = own_server(config=configured, pass_env=["BAKERY_PLACE"], env={**LEAN["env"], "MORE": "more"})
    said = run(server, "env")
    found = variables(said)
    assert found["MORE"] == "more"
    assert found["PATH"] == os.environ["PATH"]
    assert "value-of-" not in said
    assert [name for name in found if name.startswith("OPENCODE_")] == ["OPENCODE_SESSIONS_TREE"]
    assert server.password not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as another user")
@pytest.mark.full
def test_of_another_user_they_see_nothing_in_proc_either(own_server, tmp_path):
    """Root reads everything. The server's own user does not, as the server has closed its `/proc` entry."""
    as_nobody = tmp_path / "opencode"
    as_nobody.write_text(
        f'#!/bin/sh\nchown -R {NOBODY} "$HOME"\n'
        f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {find_binary()} "$@"\n'
    )
    as_nobody.chmod(0o755)
    server = own_server(binary=as_nobody)
    said = run(server, f"id -u; cat /proc/{server.pid}/environ /proc/$PPID/environ; cat /proc/self/environ")
    assert said.startswith(str(NOBODY))
    assert said.count("Permission denied") == 2
    assert "PATH=" in said
    assert server.password not in said


@pytest.fixture
def sandboxed(own_server, tmp_path):
    """A server whose agents' commands run in the sandbox of the example, and one of their folders."""
    bwrap = find_program("bwrap")
    if subprocess.run([bwrap, "--ro-bind", "/", "/", "--unshare-all", "true"], check=False).returncode:
        pytest.skip("this machine lets nobody make namespaces")
    folder = tmp_path / "agents" / "1"
    folder.mkdir(parents=True)
    sandbox = {"SHELL": str(SANDBOX), "AGENT_FOLDERS": str(folder.parent)}
    return own_server(env={**LEAN["env"], **sandbox}), folder


@pytest.mark.full
def test_in_the_sandbox_they_see_their_folder_and_nothing_else(sandboxed):
    server, folder = sandboxed
    (folder / "given.txt").write_text("flour\n")
    (folder.parent / "2").mkdir()
    said = run(
        server,
        "cat given.txt; echo made > made.txt; mkdir -p .opencode/plugin; echo > .opencode/plugin/x.js; "
        f"ls {folder.parent}; "
        f"cat /etc/passwd {server.log_path}; cat /proc/[0-9]*/environ | tr '\\0' '\\n'; ls -d /proc/[0-9]* | wc -l; "
        f"echo > /dev/tcp/127.0.0.1/{server.port}",
        folder,
    )
    assert said.startswith("flour")
    assert (folder / "made.txt").read_text() == "made\n"
    assert list((folder / ".opencode").iterdir()) == []
    assert "\n1\n" in said  # of the agents' folders
    assert said.count("No such file or directory") == 2
    assert "Connection refused" in said
    assert server.password not in said
    assert "value-of-" not in said


@pytest.mark.full
def test_the_sandbox_refuses_a_folder_that_is_no_agents(sandboxed, tmp_path):
    server, _ = sandboxed
    assert "is no agent's folder" in run(server, "ls", tmp_path)
