"""What a 2.x server does by itself, and the turn that goes on over it; and what it makes simpler: on its stand-in."""

from __future__ import annotations

import threading
from contextlib import closing, suppress

import pytest
from fix_cli import eventually
from fix_fake_v2 import V2Client
from v2_contract import event_troubles

from opencode_sessions import Client, Session, Turn, allow, deny, errors
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import FaultProxy
from opencode_sessions.testing.v2.server import FakeServer

pytestmark = pytest.mark.lines("v2")

SLOW = "!slow 0.04\n!say " + "word " * 30
RESUMES = 10


@pytest.fixture
def record():
    return MemoryRecord("On the new line")


def turn(message, record, client, *rules):
    return Turn(message, Session(record, permissions_for=[*rules] or [allow("*")]), client)


def test_an_answer_goes_on_over_a_compaction_whose_cost_is_the_turns(scripted_model, record, tmp_path):
    config = scripted_model.config()
    config["provider"]["scripted"]["models"]["main"]["limit"] = {"context": 1, "output": 1}
    message = MemoryMessage('!tool bash {"command": "echo hello"}\n!say done')
    with (
        FakeServer(config, data=tmp_path) as server,
        Client(server.url, password=server.password) as client,
        closing(V2Client(server)) as direct,
    ):
        result = turn(message, record, client).run()
        assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
        stored = direct.messages(result.session_id)
        assert [each["type"] for each in stored].count("compaction") == 1
        assert result.cost == pytest.approx(sum(each.get("cost", 0) for each in stored))
        assert not [found for event in direct.log(result.session_id) if (found := event_troubles(event))]


def test_a_turn_that_its_server_resumes_in_vain_fails_and_nobody_has_cancelled_it(fake_v2, record):
    with Client(fake_v2.url, password=fake_v2.password) as client:
        message = MemoryMessage("!slow 600\n!say never")
        going = threading.Thread(target=turn(message, record, client).run)
        going.start()
        eventually(lambda: record.opencode_session_id and client.busy(record.opencode_session_id))
        for _ in range(RESUMES + 1):
            fake_v2.kill()
            fake_v2.start()
        going.join(100)
        assert message.state.status is TurnStatus.FAILED
        assert "interrupted repeatedly" in message.state.error["message"]


REQUESTS = ("POST /api/session HTTP", "/api/event", "/instructions/", "/prompt HTTP", "/message", "/active")


@pytest.mark.parametrize("lost", ["its request", "its answer"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_whatever_is_lost_on_the_way_no_session_was_ever_without_its_rules(server, record, request_, lost):
    rules = (allow("*"), deny("bash"))
    with (
        FaultProxy(server.url, seed=1) as line,
        Client(line.url, password=server.password) as client,
        Client(server.url, password=server.password) as direct,
        closing(V2Client(server)) as log,
    ):
        client.health()
        if lost == "its request":
            line.cut_after(0, direction="up", matching=request_.encode())
        else:
            line.drop_answer(matching=request_.encode())
        message = MemoryMessage("hello")
        with suppress(errors.WireError):
            turn(message, record, client, *rules).run()
        assert line.faults
        line.calm()
        result = turn(message, record, direct, *rules).run()
        assert (result.status, result.content) == (TurnStatus.COMPLETED, 'You said: "hello".')
        owner = f"memory:{record.number}"
        made = [info.id for info in direct.list() if info.metadata.get("record") == owner]
        assert made == [result.session_id]
        first, *later = log.log(result.session_id)
        assert first["type"] == "session.created"
        assert [rule["action"] for rule in first["data"]["permissions"]] == ["*", "shell"]
        assert "session.permissions" not in [event["type"] for event in later]
