"""What the stand-in for a 2.x server does where neither the contract nor a recording says it: as its sources do."""

from __future__ import annotations

import base64
import json
import threading

import httpx2
import pytest
from fix_fake_v2 import until

from opencode_sessions.testing.v2.server import FakeServer

ASK_SHELL = [{"action": "shell", "resource": "*", "effect": "ask"}]
DENY_SHELL = [{"action": "shell", "resource": "*", "effect": "deny"}]
SHELL = '!tool shell {"command": "echo one"}'


def asked(v2, session_id="ses_1"):
    return until(lambda: v2.data("GET", f"/api/session/{session_id}/permission"))[0]


def reply(v2, request, decision, **more):
    path = f"/api/session/{request['sessionID']}/permission/{request['id']}/reply"
    v2.data("POST", path, {"decision": decision, **more})


def tools_of(messages):
    return [
        part for m in messages if m["type"] == "assistant" for part in m["content"] if part["type"] == "tool"
    ]


def text_of(messages):
    parts = [part for m in messages if m["type"] == "assistant" for part in m["content"]]
    return "".join(part["text"] for part in parts if part["type"] == "text")


def outcome(messages):
    return messages[-1]["outcome"]


# Refusals


def test_a_refusal_without_a_word_ends_the_execution(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt("ses_1", SHELL)
    reply(v2, asked(v2), "reject")
    v2.wait("ses_1")
    messages = v2.messages("ses_1")
    assert outcome(messages) == "interrupted"
    assert tools_of(messages)[0]["state"]["error"] == {
        "type": "aborted",
        "message": "The user declined this tool call",
    }


def test_a_refusal_refuses_what_else_the_session_asks_for(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt("ses_1", f'{SHELL}\n!and shell {{"command": "echo two"}}')
    until(lambda: len(v2.data("GET", "/api/session/ses_1/permission")) == 2)
    reply(v2, asked(v2), "reject")
    v2.wait("ses_1")
    assert v2.data("GET", "/api/session/ses_1/permission") == []
    assert [tool["state"]["status"] for tool in tools_of(v2.messages("ses_1"))] == ["error", "error"]


@pytest.mark.parametrize(("message", "ended"), [(None, "interrupted"), ("Not now", "succeeded")])
def test_a_question_that_is_dismissed_ends_the_execution_unless_there_is_a_word(v2, message, ended):
    v2.create("ses_1")
    questions = [{"question": "Which?", "header": "One", "options": []}]
    v2.prompt("ses_1", f"!tool question {json.dumps({'questions': questions})}")
    form = until(lambda: v2.data("GET", "/api/session/ses_1/form"))[0]
    query = {} if message is None else {"message": message}
    assert v2.ask("DELETE", f"/api/session/ses_1/form/{form['id']}", **query)[0] == 204
    v2.wait("ses_1")
    assert outcome(v2.messages("ses_1")) == ended


# Rules


def test_a_tool_that_is_denied_for_everything_is_not_offered_and_fails_if_called(v2, scripted_model):
    scripted_model.reset()
    v2.create("ses_1", permissions=DENY_SHELL)
    v2.prompt("ses_1", SHELL)
    v2.wait("ses_1")
    assert "shell" not in scripted_model.calls[-1].tools
    assert "read" in scripted_model.calls[-1].tools
    assert tools_of(v2.messages("ses_1"))[0]["state"]["error"]["type"] == "permission.rejected"


def test_a_saved_permission_does_not_override_a_denial(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt("ses_1", SHELL)
    reply(v2, asked(v2), "always")
    v2.create("ses_2", permissions=DENY_SHELL)
    v2.prompt("ses_2", SHELL)
    v2.wait("ses_2")
    assert tools_of(v2.messages("ses_2"))[0]["state"]["status"] == "error"


def test_a_permission_that_is_given_for_ever_answers_what_else_it_covers(v2):
    for session_id in ("ses_1", "ses_2"):
        v2.create(session_id, permissions=ASK_SHELL)
        v2.prompt(session_id, SHELL)
    asked(v2, "ses_2")
    reply(v2, asked(v2), "always")
    v2.wait("ses_2")
    assert outcome(v2.messages("ses_2")) == "succeeded"


def test_an_update_replaces_the_rules(v2):
    v2.create("ses_1", permissions=DENY_SHELL)
    v2.data("PATCH", "/api/session/ses_1", {"permissions": []})
    v2.prompt("ses_1", SHELL)
    v2.wait("ses_1")
    assert tools_of(v2.messages("ses_1"))[0]["state"]["status"] == "completed"


def test_a_subagent_has_the_rules_of_its_parent(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt(
        "ses_1", f"!tool subagent {json.dumps({'agent': 'general', 'description': 'd', 'prompt': SHELL})}"
    )
    child = until(lambda: v2.data("GET", "/api/session", parentID="ses_1"))[0]
    assert child["permissions"] == ASK_SHELL
    reply(v2, asked(v2, child["id"]), "once")
    v2.wait("ses_1")
    assert 'state="completed"' in tools_of(v2.messages("ses_1"))[0]["state"]["content"][0]["text"]


def test_a_file_outside_of_the_directory_needs_a_permission_of_its_own(v2, tmp_path):
    outside = tmp_path / "outside.txt"
    v2.create("ses_1")
    v2.prompt("ses_1", f"!tool write {json.dumps({'path': str(outside), 'content': 'x'})}")
    request = asked(v2)
    assert (request["action"], request["resources"]) == ("external_directory", [f"{tmp_path.resolve()}/*"])
    reply(v2, request, "once")
    v2.wait("ses_1")
    assert outside.read_text() == "x"


# Executions


def test_a_prompt_that_is_sent_again_starts_an_execution_that_does_nothing(v2):
    v2.create("ses_1")
    v2.prompt("ses_1", "Hello", id="msg_1")
    v2.wait("ses_1")
    before = len(v2.log("ses_1"))
    v2.prompt("ses_1", "Hello", id="msg_1")
    v2.wait("ses_1")
    assert [event["type"] for event in v2.log("ses_1")[before - 1 : -1]] == [
        "session.execution.started",
        "session.execution.succeeded",
    ]


def test_a_prompt_without_resume_waits_until_something_runs(v2):
    v2.create("ses_1")
    v2.prompt("ses_1", "First", resume=False)
    assert v2.data("GET", "/api/session/active") == {}
    assert v2.messages("ses_1") == []
    v2.prompt("ses_1", "Second")
    v2.wait("ses_1")
    assert [message["type"] for message in v2.messages("ses_1")] == ["user", "user", "assistant", "idle"]


def test_a_steer_is_delivered_between_two_steps(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt("ses_1", f"{SHELL}\n!say never said")
    request = asked(v2)
    v2.prompt("ses_1", "!say Instead")
    reply(v2, request, "once")
    v2.wait("ses_1")
    messages = v2.messages("ses_1")
    assert [message["type"] for message in messages] == ["user", "assistant", "user", "assistant", "idle"]
    assert text_of(messages) == "Instead"


def test_an_interruption_of_an_idle_session_does_nothing(v2):
    v2.create("ses_1")
    assert v2.interrupt("ses_1") is False
    assert [event["type"] for event in v2.log("ses_1")] == ["session.created", "log.synced"]


def test_an_interruption_reaches_the_subagent(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt(
        "ses_1", f"!tool subagent {json.dumps({'agent': 'general', 'description': 'd', 'prompt': SHELL})}"
    )
    child = until(lambda: v2.data("GET", "/api/session", parentID="ses_1"))[0]
    asked(v2, child["id"])
    assert v2.interrupt("ses_1") is True
    v2.wait("ses_1")
    v2.wait(child["id"])
    assert outcome(v2.messages(child["id"])) == "interrupted"
    assert v2.data("GET", f"/api/session/{child['id']}/permission") == []
    [tool] = tools_of(v2.messages("ses_1"))
    assert (tool["state"]["status"], tool["state"]["metadata"]["sessionID"]) == ("error", child["id"])


def test_an_error_that_is_not_repeatable_ends_the_execution(v2):
    v2.create("ses_1")
    v2.prompt("ses_1", "!error 400 No such thing")
    v2.wait("ses_1")
    *_, assistant, idle = v2.messages("ses_1")
    error = {"type": "provider.invalid-request", "message": "No such thing", "status": 400}
    assert assistant["error"] == error
    assert (idle["outcome"], idle["error"]) == ("failed", error)


def test_an_error_that_is_repeatable_is_given_up_after_four_repetitions(v2, scripted_model):
    scripted_model.reset()
    v2.create("ses_1", title="No title is asked for")
    v2.prompt("ses_1", "!error 503 Busy")
    v2.wait("ses_1")
    assert scripted_model.call_count == 5
    retries = [event for event in v2.log("ses_1") if event["type"] == "session.retry.scheduled"]
    assert [event["data"]["attempt"] for event in retries] == [2, 3, 4, 5]
    assert outcome(v2.messages("ses_1")) == "failed"


def test_an_answer_that_breaks_off_is_continued_in_another_message(v2):
    v2.create("ses_1")
    v2.prompt("ses_1", "!cut 1\n!say One two three four")
    v2.wait("ses_1")
    kinds = [message["type"] for message in v2.messages("ses_1")]
    assert kinds == ["user", "assistant", "synthetic", "assistant", "idle"]
    assert text_of(v2.messages("ses_1")) == "One two One two three four"


def test_a_call_in_an_answer_that_breaks_off_is_not_made(v2, fake_v2):
    v2.create("ses_1")
    write = '{"path": "a.txt", "content": "x"}'
    v2.prompt("ses_1", f"!cut 1\n!tool write {write}\n!and write {write}\n!say Over")
    v2.wait("ses_1")
    [tool] = tools_of(v2.messages("ses_1"))
    assert tool["state"]["error"]["type"] == "aborted"
    assert not (fake_v2.directory / "a.txt").exists()
    assert text_of(v2.messages("ses_1")) == "Over"


def test_instruction_entries_are_told_at_first_and_when_they_change(v2, scripted_model):
    scripted_model.reset()
    path = "/api/experimental/session/ses_1/instructions/entries/tone"
    v2.create("ses_1", title="One")
    v2.data("PUT", path, {"value": "Be brief."})
    v2.prompt("ses_1", "Hello")
    v2.wait("ses_1")
    v2.data("PUT", path, {"value": "Be verbose."})
    v2.prompt("ses_1", "Again")
    v2.wait("ses_1")
    first, second = [
        [m["content"] for m in call.messages if m["role"] == "system"] for call in scripted_model.calls
    ]
    assert "Be brief." in first[0]
    assert second[0] == first[0]
    assert "Be verbose." in second[1]
    assert [m["type"] for m in v2.messages("ses_1")] == [
        "user",
        "assistant",
        "idle",
        "system",
        "user",
        "assistant",
        "idle",
    ]


def test_a_deleted_session_ends_what_runs_in_it_and_takes_its_children_along(v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt(
        "ses_1", f"!tool subagent {json.dumps({'agent': 'general', 'description': 'd', 'prompt': SHELL})}"
    )
    child = until(lambda: v2.data("GET", "/api/session", parentID="ses_1"))[0]
    asked(v2, child["id"])
    v2.data("DELETE", "/api/session/ses_1")
    assert v2.data("GET", "/api/session/active") == {}
    assert v2.data("GET", "/api/session") == []


# Streams


def test_a_log_that_is_followed_goes_on_without_a_gap(v2, fake_v2):
    v2.create("ses_1")
    v2.prompt("ses_1", "Hello")
    v2.wait("ses_1")
    path = f"{fake_v2.url}/api/experimental/session/ses_1/log?after=3&follow=true"
    seen = []
    with httpx2.stream("GET", path, auth=(fake_v2.username, fake_v2.password)) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line[6:]))
                if seen[-1]["type"] == "log.synced":
                    v2.prompt("ses_1", "Again")
                if (
                    len(seen) > 2
                    and seen[-1]["type"] == "session.execution.succeeded"
                    and "log.synced" in [s["type"] for s in seen]
                ):
                    break
    numbers = [event["durable"]["seq"] for event in seen if "durable" in event]
    assert numbers == list(range(4, 4 + len(numbers)))


def test_an_event_stream_has_heartbeats(scripted_model, fake_v2_with):
    server = fake_v2_with(heartbeat=0.05)
    with httpx2.stream("GET", f"{server.url}/api/event", auth=(server.username, server.password)) as response:
        lines = (line for line in response.iter_lines() if line)
        assert json.loads(next(lines)[6:])["type"] == "server.connected"
        assert [next(lines), next(lines)] == [": heartbeat", ": heartbeat"]


def test_an_event_stream_that_is_not_read_is_broken_off(fake_v2_with, v2_of):
    server = fake_v2_with(capacity=3)
    v2 = v2_of(server)
    v2.create("ses_1")
    with httpx2.stream("GET", f"{server.url}/api/event", auth=(server.username, server.password)) as response:
        words = "x" * 200_000
        for _ in range(40):
            v2.data("PATCH", "/api/session/ses_1", {"metadata": {"words": words}})
        with pytest.raises(httpx2.RemoteProtocolError):
            response.read()


def test_many_clients_create_one_session_and_admit_one_prompt(v2, fake_v2, v2_of):
    answers = []

    def both():
        client = v2_of(fake_v2)
        answers.append((client.create("ses_1"), client.prompt("ses_1", "Hello", id="msg_1")))

    threads = [threading.Thread(target=both) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    v2.wait("ses_1")
    assert len(answers) == 8
    assert [event["type"] for event in v2.log("ses_1")].count("session.inbox.enqueued") == 1


def test_outside_of_the_api_there_is_a_web_page(fake_v2):
    auth = (fake_v2.username, fake_v2.password)
    page = httpx2.get(f"{fake_v2.url}/global/health", auth=auth, timeout=100)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html")
    assert httpx2.get(f"{fake_v2.url}/api/health", auth=auth, timeout=100).status_code == 404


# What it is configured with


def test_a_configuration_in_the_words_of_the_new_line_is_understood(scripted_model, tmp_path, v2_of):
    config = {
        "model": "own/main",
        "providers": {"own": {"settings": {"baseURL": scripted_model.url}}},
        "permissions": [{"action": "shell", "resource": "*", "effect": "deny"}],
        "agents": {"careful": {"permissions": [{"action": "shell", "resource": "*", "effect": "allow"}]}},
    }
    with FakeServer(config, data=tmp_path / "own", password="") as server:
        v2 = v2_of(server)
        for session_id, agent, status in (("ses_1", None, "error"), ("ses_2", "careful", "completed")):
            v2.create(session_id, **({"agent": agent} if agent else {}))
            v2.prompt(session_id, SHELL)
            v2.wait(session_id)
            assert tools_of(v2.messages(session_id))[0]["state"]["status"] == status


def test_a_permission_in_the_words_of_the_old_line_is_understood(scripted_model, tmp_path, v2_of):
    config = {**scripted_model.config(), "permission": {"bash": {"*": "allow", "echo *": "deny"}}}
    with FakeServer(config, data=tmp_path / "own") as server:
        v2 = v2_of(server)
        v2.create("ses_1")
        v2.prompt("ses_1", f'{SHELL}\n!tool bash {{"command": "true"}}')
        v2.wait("ses_1")
        assert [tool["state"]["status"] for tool in tools_of(v2.messages("ses_1"))] == ["error", "completed"]


def test_a_password_may_have_any_letters(scripted_model, tmp_path):
    with FakeServer({}, data=tmp_path / "own", password="pässwörd") as server:
        for password, status in (("pässwörd", 200), ("passwort", 401)):
            header = base64.b64encode(f"opencode:{password}".encode()).decode()
            answer = httpx2.get(
                f"{server.url}/api/info", headers={"Authorization": f"Basic {header}"}, timeout=100
            )
            assert answer.status_code == status


def test_an_agent_that_is_not_there_ends_the_execution(v2):
    v2.create("ses_1", agent="nobody")
    v2.prompt("ses_1", "Hello")
    v2.wait("ses_1")
    idle = v2.messages("ses_1")[-1]
    assert (idle["outcome"], idle["error"]["message"]) == ("failed", 'Agent not found: "nobody"')


# Lists


def test_pages_of_messages_lead_to_each_other(v2):
    v2.create("ses_1")
    for number in range(3):
        v2.prompt("ses_1", f"Prompt {number}", resume=False)
    v2.prompt("ses_1", "Last")
    v2.wait("ses_1")
    every = [message["id"] for message in v2.messages("ses_1")]
    path, seen, cursor = "/api/session/ses_1/message", [], {}
    while True:
        _, page = v2.ask("GET", path, limit=2, **cursor)
        if not page["data"]:
            break
        seen += [message["id"] for message in page["data"]]
        cursor = {"cursor": page["cursor"]["next"]}
        before = page["cursor"]["previous"]
    assert seen == every[::-1]
    _, page = v2.ask("GET", path, limit=2, cursor=before)
    assert [message["id"] for message in page["data"]] == seen[2:4]
    assert v2.ask("GET", path, limit=201)[0] == 400
    assert v2.ask("GET", "/api/session", limit=201)[0] == 200


def test_sessions_are_listed_by_what_is_asked_for(v2, tmp_path):
    elsewhere = str(tmp_path)
    v2.create("ses_1", title="Apples")
    v2.create("ses_2", title="Pears", location={"directory": elsewhere})
    v2.create("ses_3", parentID="ses_2")
    v2.data("PATCH", "/api/session/ses_1", {"archived": True})

    def listed(**query):
        return [session["id"] for session in v2.data("GET", "/api/session", **query)]

    assert listed() == ["ses_3", "ses_2", "ses_1"]
    assert listed(search="app") == ["ses_1"]
    assert listed(directory=elsewhere, order="asc") == ["ses_2", "ses_3"]
    assert listed(parentID="null", archived="false") == ["ses_2"]
