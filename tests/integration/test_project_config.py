"""The folder that an agent works in does not configure the server: the agent may have written there."""

from __future__ import annotations

import json
import re

import httpx2
import pytest
from fix_cli import eventually
from model_bodies import bodies_asked

from opencode_sessions import Client, Session, Timeouts, Turn, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus


@pytest.fixture
def trap(tmp_path):
    """A folder that configures the server in every way that an agent could leave there."""

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    touch = {"type": "local", "command": ["touch", str(tmp_path / "ran-mcp")]}
    write(
        "opencode.json",
        json.dumps({"username": "the folder", "mcp": {"evil": touch}, "instructions": ["more.md"]}),
    )
    write("more.md", "mind-the-instructions")
    write("AGENTS.md", "mind-the-agents-file")
    imported, called = (f"await Bun.write('{tmp_path / name}', '')" for name in ("imported", "ran-plugin"))
    write(".opencode/plugin/x.js", f"{imported}; export default async () => {{ {called}; return {{}} }}")
    write(".opencode/agent/evil.md", "---\ndescription: evil\nmode: subagent\n---\n")
    write(".opencode/command/evil.md", "---\ndescription: evil\n---\n")
    write(
        ".opencode/tool/evil.js",
        "export default { description: 'evil', args: {}, execute: async () => 'evil' }",
    )
    for place in (".opencode", ".claude", ".agents"):
        name = f"evil{place.replace('.', '-')}"
        write(f"{place}/skills/{name}/SKILL.md", f"---\nname: {name}\ndescription: evil\n---\n")
    return tmp_path


def what_it_takes_from(server, folder):
    """Everything that a folder got the server to do, or to tell the model."""
    patient = Timeouts(read=150)  # the server first runs what the folder names, and asks npm for types
    with (
        Client(server.url, password=server.password, directory=str(folder), timeouts=patient) as client,
        bodies_asked() as bodies,
    ):
        session = Session(MemoryRecord("trap"), permissions_for=lambda _: [allow("*")])
        assert Turn(MemoryMessage("hello"), session, client).run().status is TurnStatus.COMPLETED
    found = {path.name for path in folder.glob("ran-*")}
    if look(server, "/config", folder)["username"] == "the folder":
        found.add("the configuration")
    for kind in ("agent", "command", "skill"):
        names = [each["name"] for each in look(server, f"/{kind}", folder)]
        found |= {f"{kind} {name}" for name in names if name.startswith("evil")}
    if "evil" in look(server, "/experimental/tool/ids", folder):
        found.add("tool evil")
    return found | set(re.findall("mind-the-[a-z]+", json.dumps(bodies)))


def look(server, path, folder):
    """What the server answers about a folder."""
    auth = (server.username, server.password)
    answer = httpx2.get(server.url + path, auth=auth, params={"directory": str(folder)}, timeout=60)
    answer.raise_for_status()
    return answer.json()


def test_the_folder_of_an_agent_does_not_configure_the_server(own_server, trap):
    assert what_it_takes_from(own_server(), trap) == set()


@pytest.mark.full
def test_a_plugin_file_is_imported_all_the_same(own_server, trap):
    what_it_takes_from(own_server(), trap)
    eventually((trap / "imported").exists)  # no setting of 1.18.33 prevents it


@pytest.mark.full
def test_the_folder_of_an_agent_configures_the_server_if_the_host_allows_it(own_server, trap):
    found = what_it_takes_from(own_server(project_config=True), trap)
    assert found == {
        "ran-mcp",
        "ran-plugin",
        "the configuration",
        "agent evil",
        "command evil",
        *(
            f"{kind} evil-{place}"
            for kind in ("command", "skill")
            for place in ("opencode", "claude", "agents")
        ),
        "tool evil",
        "mind-the-instructions",
        "mind-the-agents",
    }
