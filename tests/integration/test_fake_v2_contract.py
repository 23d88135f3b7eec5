"""The stand-in for a 2.x server is held to the contract: by its types, and by the real client that reads them."""

from __future__ import annotations

import json

import pytest
from fix_fake_v2 import until
from opencode import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    Opencode,
)
from opencode._exceptions import AuthenticationError
from v2_contract import StrictOpencode, event_troubles, troubles

ASK_SHELL = [{"action": "shell", "resource": "*", "effect": "ask"}]


@pytest.fixture
def client(fake_v2):
    with StrictOpencode(fake_v2) as client:
        yield client


def visit_the_server(client):
    client.server.info()
    client.location.get()
    client.agent.list()
    client.agent.get("build")
    assert client.file.read("a.txt") == b"content"


def visit_a_session(session):
    session.create(id="ses_1", title="One", permissions=ASK_SHELL, metadata={"a": 1}, agent="build")
    session.get("ses_1")
    session.update("ses_1", title="Another", permissions=ASK_SHELL, metadata={"b": 2})
    session.switch_agent("ses_1", agent="plan")
    session.switch_agent("ses_1", agent="build")
    session.switch_model("ses_1", model={"id": "main", "providerID": "scripted"})
    session.instructions.entry.put("ses_1", "who", value={"name": "Ada"})
    session.instructions.entry.list("ses_1")
    session.environment("ses_1", variables={"A": "1"})


def visit_permissions(client):
    permission = client.permission
    calls = '!reason Hm\n!tool shell {"command": "echo $A"}\n!and shell {"command": "true"}'
    client.session.prompt("ses_1", id="msg_1", text=calls)
    asked = until(lambda: permission.list("ses_1"))[0]
    client.session.get("ses_1")
    permission.request_.list()
    permission.get("ses_1", asked.id)
    permission.reply("ses_1", asked.id, decision="always")
    other = until(lambda: permission.list("ses_1"))[0]
    saved = permission.saved.list()[0]
    permission.saved.update(saved.id, resource="echo *")
    permission.saved.remove(saved.id)
    permission.reply("ses_1", other.id, decision="once")
    client.session.wait("ses_1")
    client.session.instructions.entry.remove("ses_1", "who")


def visit_forms(client):
    session = client.session
    question = {"question": "Which?", "header": "One", "options": [{"label": "A", "description": "a"}]}
    session.prompt("ses_1", text=f"!tool question {json.dumps({'questions': [question]})}")
    form = until(lambda: session.form.list("ses_1"))[0]
    client.form.list()
    session.form.get("ses_1", form.id)
    session.form.reply("ses_1", form.id, answer={"q0": "A"})
    session.wait("ses_1")
    made = session.form.create("ses_1", title="Made", fields=[{"key": "x", "type": "string"}])
    session.form.cancel("ses_1", made.id)


def visit_the_inbox(session, file):
    session.prompt("ses_1", text='!tool subagent {"agent": "general", "description": "d", "prompt": "Hi"}')
    session.wait("ses_1")
    session.synthetic("ses_1", text="By the way", resume=False)
    parked = [
        session.prompt("ses_1", text="Later", delivery="queue", resume=False, files=[{"uri": uri}])
        for uri in ("data:text/plain,hi", file.as_uri())
    ]
    session.inbox.list("ses_1")
    session.inbox.cancel("ses_1", parked[0].id)
    session.inbox.update("ses_1", parked[1].id, delivery="steer")
    session.wait("ses_1")
    session.prompt("ses_1", text="!error 400 No")
    session.wait("ses_1")
    session.interrupt("ses_1")


def visit_lists(client):
    session = client.session
    assert len(client.message.list("ses_1", limit=5)) == 5
    assert [message.type for message in client.message.list("ses_1", type="user")] == ["user"] * 5
    session.message.get("ses_1", "msg_1")
    session.context("ses_1")
    assert [one.id for one in session.list(parent_id="null")] == ["ses_1"]
    assert len(session.list(parent_id="ses_1").data) == 1
    with session.log("ses_1") as log:
        assert [item.type for item in log][-1] == "log.synced"
    with client.event.subscribe() as events:
        assert next(iter(events)).type == "server.connected"


def visit_branches(session):
    session.fork("ses_1", before="msg_1")
    session.fork(session.fork("ses_1").id)
    session.revert.stage("ses_1", message_id="msg_1")
    session.get("ses_1")
    session.revert.clear("ses_1")
    session.revert.stage("ses_1", message_id="msg_1")
    session.revert.commit("ses_1")
    session.move("ses_1", directory="/elsewhere")
    assert session.get("ses_1").location.directory == "/elsewhere"


def test_every_route_answers_as_the_contract_has_it(fake_v2, client, v2):
    file = fake_v2.directory / "a.txt"
    file.write_text("content")
    visit_the_server(client)
    visit_a_session(client.session)
    visit_permissions(client)
    visit_forms(client)
    visit_the_inbox(client.session, file)
    visit_lists(client)
    visit_branches(client.session)
    assert not [trouble for event in v2.log("ses_1") for trouble in event_troubles(event)]
    client.session.remove("ses_1")
    asked = {*client.asked, ("GET", "/api/session/active")}  # the package's own call of it fails (0.2.3)
    unasked = [
        route
        for route in fake_v2.routes
        if not any(m == route[0] and route[1].fullmatch(p) for m, p in asked)
    ]
    assert not unasked


def test_active_sessions_are_listed_as_the_contract_has_it(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    assert v2.data("GET", "/api/session/active") == {}
    v2.prompt("ses_1", '!tool shell {"command": "true"}')
    [(session_id, state)] = v2.data("GET", "/api/session/active").items()
    assert session_id == "ses_1"
    assert not troubles("SessionActive", state)
    status, busy = v2.ask("DELETE", "/api/session/ses_1/revert")
    assert (status, troubles("SessionBusyErrorBody", busy)) == (409, [])


def test_every_event_is_one_of_the_contract(v2):
    v2.listen()
    v2.create("ses_1", title="One", permissions=ASK_SHELL)
    v2.data("PATCH", "/api/session/ses_1", {"title": "Two", "metadata": {"a": 1}, "permissions": ASK_SHELL})
    v2.prompt("ses_1", '!reason Hm\n!say Yes\n!tool shell {"command": "exit 3"}\n!and read {"path": "no"}')
    asked = v2.hear_type("permission.asked")["data"]
    v2.data(
        "POST", f"/api/session/ses_1/permission/{asked['id']}/reply", {"decision": "reject", "message": "No"}
    )
    v2.hear_type("session.execution.succeeded")
    v2.prompt("ses_1", "!rate-limit 0 1\n!say Again")
    v2.prompt("ses_1", "!cut 1\n!say Some words that break off in the middle", delivery="queue")
    v2.wait("ses_1")
    v2.prompt("ses_1", "!error 400 No")
    v2.wait("ses_1")
    v2.data("DELETE", "/api/session/ses_1")
    v2.hear_type("session.deleted")
    assert {"session.retry.scheduled", "session.step.failed", "session.synthetic"} <= set(v2.types())
    assert not [(event, found) for event in v2.events if (found := event_troubles(event))]


@pytest.mark.parametrize(
    ("error", "ask"),
    [
        (NotFoundError, lambda client: client.session.get("ses_none")),
        (NotFoundError, lambda client: client.session.create(parent_id="ses_none")),
        (NotFoundError, lambda client: client.session.message.get("ses_1", "msg_none")),
        (NotFoundError, lambda client: client.permission.reply("ses_1", "per_none", decision="once")),
        (NotFoundError, lambda client: client.permission.saved.remove("psv_none")),
        (NotFoundError, lambda client: client.session.form.get("ses_1", "frm_none")),
        (NotFoundError, lambda client: client.agent.get("nobody")),
        (NotFoundError, lambda client: client.session.fork("ses_1", before="msg_none")),
        (NotFoundError, lambda client: client.session.revert.stage("ses_1", message_id="msg_none")),
        (BadRequestError, lambda client: client.session.fork("ses_1")),
        (BadRequestError, lambda client: client.session.get("1")),
        (BadRequestError, lambda client: client.session.create(id="1")),
        (BadRequestError, lambda client: client.session.prompt("ses_1", id="1", text="Hi")),
        (
            BadRequestError,
            lambda client: client.session.prompt("ses_1", text="Hi", files=[{"uri": "file:///no"}]),
        ),
        (BadRequestError, lambda client: client.session.list(cursor="nonsense")),
        (BadRequestError, lambda client: client.session.list(limit=0)),
        (BadRequestError, lambda client: client.message.list("ses_1", cursor="e30")),
        (ConflictError, lambda client: client.session.inbox.update("ses_1", "msg_none", delivery="steer")),
    ],
)
def test_errors_are_those_of_the_contract(client, error, ask):
    client.session.create(id="ses_1")
    with pytest.raises(error):
        ask(client)


def test_a_form_takes_a_fitting_answer_once(client):
    client.session.create(id="ses_1")
    field = {"key": "x", "type": "integer", "required": True}
    form = client.session.form.create("ses_1", title="Made", fields=[field])
    for answer in ({}, {"x": "one"}, {"x": 1, "y": 2}):
        with pytest.raises(BadRequestError):
            client.session.form.reply("ses_1", form.id, answer=answer)
    client.session.form.reply("ses_1", form.id, answer={"x": 1})
    with pytest.raises(ConflictError):
        client.session.form.cancel("ses_1", form.id)


def test_a_wrong_password_is_refused(fake_v2):
    with Opencode(fake_v2.url, password="wrong", max_retries=0) as stranger:
        with pytest.raises(AuthenticationError):
            stranger.server.info()


def test_the_strict_reading_finds_what_the_contract_does_not_know():
    event = {"id": "evt_1", "created": 1, "type": "shell.deleted", "data": {"id": "sh_1"}}
    assert not event_troubles(event)
    assert event_troubles({**event, "more": 1})
    assert event_troubles({**event, "data": {}})
    assert event_troubles({**event, "type": "shell.vanished"})
    ended = {"id": "sh_1", "status": "vanished"}
    assert event_troubles({**event, "type": "shell.exited", "data": ended})
