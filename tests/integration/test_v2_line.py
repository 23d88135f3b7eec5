"""What is different on the 2.x line, on its stand-in: detection, rules, prompts, forms, restarts."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

import httpx2
import pytest
from fix_cli import eventually
from fix_fake_v2 import V2Client, stand_in_binary

from opencode_sessions import (
    IN_THE_ROW,
    Answer,
    Client,
    OpencodeServer,
    Pruner,
    Session,
    Turn,
    allow,
    ask,
    deny,
    errors,
    new_message_id,
    new_session_id,
)
from opencode_sessions.protocol.events import Connected, PartDelta, SessionIdle
from opencode_sessions.store.index import MemoryIndex
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.records import RecordState
from opencode_sessions.testing.v2.server import FakeServer

pytestmark = pytest.mark.lines("v2")

SLOW = "!slow 0.04\n!say " + "word " * 30


@pytest.fixture
def record():
    return MemoryRecord("On the new line")


EVERYTHING = [allow("*")]


def turn(message, record, client, *, rules=EVERYTHING, **options):
    return Turn(message, Session(record, permissions_for=[*rules]), client, **options)


FIRST_CALLS = {
    "get": lambda client, info: client.get(info.id).id == info.id,
    "create": lambda client, _: client.create(new_session_id(), title="t", rules=[deny("bash")]).rules,
    "list": lambda client, info: info.id in {found.id for found in client.list()},
    "busy": lambda client, info: not client.busy(info.id),
    "messages": lambda client, info: list(client.messages(info.id)) == [],
    "pending_asks": lambda client, info: client.pending_asks(info.id) == [],
    "pending_permissions": lambda client, _: client.pending_permissions() == [],
    "update": lambda client, info: client.update(info.id, title="u").title == "u",
    "delete": lambda client, info: client.delete(info.id),
    "stop": lambda client, info: client.stop(info.id) == [],
    "todos": lambda client, info: client.todos(info.id) == (),
    "subscribe": lambda client, info: client.subscribe(info.id).close() is None,
    "prompt": lambda client, info: client.prompt(info.id, "hello").startswith("msg_"),
    "withdraw": lambda client, info: not client.withdraw(info.id, new_message_id()),
    "health": lambda client, _: client.health().version.startswith("2."),
}


@pytest.mark.parametrize("call", FIRST_CALLS.values(), ids=FIRST_CALLS)
def test_whatever_is_asked_first_the_line_is_found_out(server, client, call):
    info = client.create(new_session_id(), title="There")
    with Client(server.url, password=server.password) as fresh:
        assert call(fresh, info)


def test_a_session_is_guarded_by_the_request_that_makes_it(client, carried, record):
    session_id = Session(record, permissions_for=[deny("*"), allow("bash", "git *")]).ensure(client)
    assert carried == ["POST /api/session"]
    assert [dict(rule) for rule in client.get(session_id).rules] == [
        {"permission": "*", "pattern": "*", "action": "deny"},
        {"permission": "bash", "pattern": "git *", "action": "allow"},
    ]


def test_a_session_that_was_there_with_other_rules_gets_these(client, record):
    session_id = new_session_id()
    client.create(session_id, rules=[allow("*")])
    client.update(session_id, rules=[deny("*"), allow("read")])
    assert [rule["permission"] for rule in client.get(session_id).rules] == ["*", "read"]


@pytest.mark.parametrize("rule", [deny("bash"), deny("*")], ids=["bash", "everything"])
def test_a_command_that_is_denied_does_not_run(client, record, server, rule, tmp_path):
    message = MemoryMessage(f'!tool bash {{"command": "touch {tmp_path}/ran"}}\n!say done')
    result = turn(message, record, client, rules=[allow("*"), rule]).run()
    assert result.status is TurnStatus.COMPLETED
    assert not (tmp_path / "ran").exists()


def test_a_wildcard_that_would_mean_something_else_there_is_refused_before_anything_is_sent(
    client, carried, record
):
    with pytest.raises(errors.InvalidRulesError, match="matches only one of"):
        Session(record, permissions_for=[deny("ba*")]).ensure(client)
    assert carried == []


@pytest.mark.parametrize("name", ["shell", "subagent"])
def test_a_rule_with_the_servers_own_name_is_refused_before_anything_is_sent(client, carried, record, name):
    with pytest.raises(errors.InvalidRulesError, match=f"the rule for '{name}'"):
        Session(record, permissions_for=[deny(name)]).ensure(client)
    assert carried == []


def test_tools_have_this_librarys_names(client, record, tmp_path):
    message = MemoryMessage('!tool bash {"command": "echo hello"}\n!say done')
    (call,) = turn(message, record, client).run().tools
    assert (call["tool"], call["status"], call["output"].strip()) == ("bash", "completed", "hello")


def test_a_system_prompt_holds_for_its_own_turn_alone(client, record):
    def told(**options):
        turn(MemoryMessage("hello"), record, client, **options).run()
        return instructions(client, record)

    assert "Speak like a pirate" in told(system="Speak like a pirate")
    assert "pirate" not in told(system="Speak like a poet")
    assert told() == ""


def instructions(client, record):
    path = f"/api/experimental/session/{record.opencode_session_id}/instructions/entries"
    with httpx2.Client(
        base_url=client.address.base_url, headers=client.address.headers(), trust_env=False, timeout=100
    ) as http:
        entries = http.get(path).json()["data"]
    return " ".join(str(entry) for entry in entries)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"schema": {"type": "object"}}, "no structured answers"),
        ({"variant": "high"}, "only together with a model"),
    ],
)
def test_what_the_line_cannot_do_is_said_before_a_prompt_is_sent(client, record, options, why):
    result = turn(MemoryMessage("hello"), record, client, **options).run()
    assert result.status is TurnStatus.FAILED
    assert why in result.error["message"]
    assert list(client.messages(result.session_id)) == []


def test_a_cancelled_prompt_that_still_waits_is_taken_back(client, server, record):
    session_id = Session(record, permissions_for=[allow("*")]).ensure(client)
    client.prompt(session_id, "!slow 600\n!say never")
    parked = V2Client(server)
    waiting = new_message_id()
    parked.prompt(session_id, "and then?", id=waiting, delivery="queue")
    assert client.withdraw(session_id, waiting)
    assert not client.withdraw(session_id, waiting)
    client.stop(session_id)
    parked.close()
    assert eventually(lambda: not client.busy(session_id))
    texts = [part["text"] for message in client.messages(session_id) for part in message.parts[:1]]
    assert "and then?" not in texts


def test_an_answer_to_another_prompt_is_not_taken_for_this_ones(client, server, record):
    """One execution delivers two prompts; each answer goes to its own."""
    other, message = V2Client(server), MemoryMessage(SLOW)
    going = threading.Thread(target=turn(message, record, client).run)
    going.start()
    eventually(lambda: message.state.content)
    other.prompt(record.opencode_session_id, "PARKED", delivery="queue")
    going.join(60)
    other.close()
    assert message.state.status is TurnStatus.COMPLETED
    assert message.state.content.strip() == ("word " * 30).strip()
    assert eventually(lambda: 'You said: "PARKED".' in str(list(client.messages(record.opencode_session_id))))


def test_a_stream_that_begins_in_the_middle_of_an_answer_hears_the_rest_of_it(client, server, record, held):
    message = MemoryMessage('!tool bash {"command": "true"}\n!say one two three four five six')
    going = threading.Thread(target=turn(message, record, client).run)
    going.start()
    eventually(lambda: message.state.content)
    with (
        Client(server.url, password=server.password) as late,
        late.subscribe(record.opencode_session_id) as heard,
    ):
        held.set()
        kinds = set()
        while SessionIdle not in kinds:
            kinds.add(type(heard.next(100)))
            assert type(None) not in kinds
    going.join(60)
    assert PartDelta in kinds
    assert Connected not in kinds


def test_a_form_that_is_no_question_is_refused_and_the_turn_goes_on(client, server, record, held):
    message = MemoryMessage("!say one two three four five six")
    going = threading.Thread(target=turn(message, record, client, on_ask=IN_THE_ROW).run)
    going.start()
    eventually(lambda: message.state.content)
    other = V2Client(server)
    form = other.data(
        "POST",
        f"/api/session/{record.opencode_session_id}/form",
        {"title": "Sign in", "fields": [{"key": "k", "type": "boolean", "title": "Really?"}]},
    )
    path = f"/api/session/{record.opencode_session_id}/form/{form['id']}"
    eventually(lambda: other.data("GET", path)["state"]["status"] == "cancelled")
    held.set()
    going.join(60)
    other.close()
    assert message.state.status is TurnStatus.COMPLETED


def test_always_holds_for_the_next_like_it(fake_v2, record):
    # On a server of its own, as it is stored there for whatever comes next.
    command = '!tool bash {"command": "echo again"}\n!say done'
    asked = []

    def answer(ask):
        asked.append(ask.permission)
        return Answer.always()

    with Client(fake_v2.url, password=fake_v2.password) as client:
        for _ in range(2):
            rules = [allow("*"), ask("bash")]
            result = turn(MemoryMessage(command), record, client, rules=rules, on_ask=answer).run()
            assert result.content == "done"
    assert asked == ["bash"]


@pytest.mark.parametrize("end", [FakeServer.kill, FakeServer.stop], ids=["killed", "stopped"])
def test_a_server_that_ends_in_a_turn_goes_on_with_it_and_the_prompt_is_there_once(fake_v2, record, end):
    with Client(fake_v2.url, password=fake_v2.password) as client:
        message = MemoryMessage(SLOW)
        running = turn(message, record, client)
        going = threading.Thread(target=running.run)
        going.start()
        eventually(lambda: message.state.content)
        end(fake_v2)
        time.sleep(0.2)
        fake_v2.start()
        going.join(60)
        assert message.state.status is TurnStatus.COMPLETED
        assert message.state.content.strip().endswith(("word " * 30).strip())
        users = [
            found.info.id
            for found in client.messages(record.opencode_session_id)
            if found.info.role == "user"
        ]
        assert users == [message.state.prompt_id]


def test_a_managed_server_of_this_line_is_found_out_and_started_as_such(scripted_model, tmp_path, caplog):
    binary = stand_in_binary(tmp_path)
    with OpencodeServer(binary=binary, config=scripted_model.config(), data=tmp_path / "data") as server:
        assert server.version.startswith("2.")
        assert "does not load the guard" in caplog.text
        with Client(server.url, password=server.password) as client:
            assert (
                turn(MemoryMessage("hello"), MemoryRecord("r"), client).run().content == 'You said: "hello".'
            )
        server.restart()
        assert server.version.startswith("2.")


def test_sessions_that_no_row_names_are_pruned_and_others_are_not(client):
    namespace, rows = f"test-{uuid.uuid4()}", [MemoryRecord("kept"), MemoryRecord("lost")]
    kept, lost = (Session(row, namespace=namespace).ensure(client) for row in rows)
    child = client.create(parent_id=lost).id
    pruner = Pruner(MemoryIndex(rows[0]), namespace=namespace, grace=timedelta(0))
    time.sleep(0.002)  # older than nothing at all is what was used a millisecond ago
    assert [(found.session_id, found.title) for found in pruner.find(client)] == [(lost, "lost")]
    assert [found.deleted for found in pruner.delete(client)] == [True]
    assert client.get(kept).id == kept
    for gone in (lost, child):
        with pytest.raises(errors.SessionNotFoundError):
            client.get(gone)


def test_a_question_that_was_answered_already_waits_no_more(client, server, record):
    session_id = Session(record, permissions_for=[allow("*")]).ensure(client)
    other = V2Client(server)
    field = {"key": "q0", "type": "string", "title": "Where to?"}
    form = {"title": "Questions", "metadata": {"kind": "question"}, "fields": [field]}
    made = other.data("POST", f"/api/session/{session_id}/form", form)
    other.close()
    (asked,) = client.pending_asks(session_id)
    for answer in (
        lambda: client.answer_question(asked.request_id, [["Rome"]]),
        lambda: client.reject_question(made["id"]),
    ):
        with pytest.raises(errors.ConfigurationError, match="pass session_id, too"):
            answer()
    client.answer_question(asked.request_id, [["Rome"]], session_id=session_id)
    assert asked.request_id == made["id"]
    with pytest.raises(errors.NotFoundError):
        client.answer_question(asked.request_id, [["Oslo"]], session_id=session_id)


def test_a_row_whose_session_the_new_server_does_not_have_gets_a_fresh_one(client, record):
    record.state = RecordState(gone := new_session_id(), ready=True)
    result = turn(MemoryMessage("hello"), record, client).run()
    assert (result.status, result.just_created) == (TurnStatus.COMPLETED, True)
    assert record.opencode_session_id not in (None, gone)


@pytest.mark.full
def test_a_client_that_is_open_while_its_server_is_upgraded_goes_on(
    own_server, scripted_model, record, tmp_path
):
    old = own_server()
    with Client(old.url, password=old.password) as client:
        before = turn(MemoryMessage("hello"), record, client).run()
        port, password = old.port, old.password
        old.stop()
        new = FakeServer(scripted_model.config(), data=tmp_path / "v2", port=port, password=password)
        with new:
            after = turn(MemoryMessage("hello again"), record, client).run()
            assert (after.status, after.content) == (TurnStatus.COMPLETED, 'You said: "hello again".')
            assert after.session_id != before.session_id
            assert client.health().version.startswith("2.")
