"""How far "always" goes on the real server: docs/permissions.md says it, and so does the form of an ask."""

from __future__ import annotations

import subprocess

import pytest

from opencode_sessions import Answer, Client, Session, Turn, allow, ask, deny
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

pytestmark = pytest.mark.full

ECHO = '!tool bash {"command": "echo two words", "description": "Say it"}\n!say done'
RULES = (allow("*"), ask("bash"))


@pytest.fixture
def folders(tmp_path):
    """A repository with a folder in it, and one beside."""
    found = {"here": tmp_path / "here", "within": tmp_path / "here" / "within", "beside": tmp_path / "beside"}
    for folder in found.values():
        folder.mkdir()
    subprocess.run(["git", "init", "-q", found["here"]], check=True)
    return found


def run_in(server, folder, rules=RULES):
    """How often the agent asks, and is answered "always", before a command in a session of its own; how that ends."""
    asked = []

    def answer(each):
        asked.append(each)
        return Answer.always()

    with Client(server.url, password=server.password, directory=str(folder)) as client:
        session = Session(MemoryRecord(), permissions_for=lambda _: rules)
        result = Turn(MemoryMessage(ECHO), session, client, on_ask=answer).run()
    return len(asked), result.tools[0]["status"]


def test_always_holds_for_all_sessions_of_a_folder_until_the_server_restarts(own_server, folders):
    server = own_server()
    assert run_in(server, folders["here"]) == (1, "completed")
    assert run_in(server, folders["here"]) == (0, "completed")
    assert run_in(server, folders["within"]) == (1, "completed")
    assert run_in(server, folders["beside"]) == (1, "completed")
    server.restart()
    assert run_in(server, folders["here"]) == (1, "completed")


def test_always_goes_before_what_the_rules_of_another_session_deny(own_server, folders):
    server, denied = own_server(), (allow("*"), deny("bash", "echo *"))
    assert run_in(server, folders["here"], denied) == (0, "error")
    assert run_in(server, folders["here"]) == (1, "completed")
    assert run_in(server, folders["here"], denied) == (0, "completed")
