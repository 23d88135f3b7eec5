"""AG-UI's own client, against an app of its own: what it shows at the end is what the rows say."""

from __future__ import annotations

import json
import sqlite3

import httpx2
import pytest
from ag_ui.core import Event, Message, RunAgentInput
from fix_chats import ALL_KINDS, BASH, LONG, QUESTION, WHO, stored_messages
from pydantic import TypeAdapter

EVENT, MESSAGES = TypeAdapter(Event), TypeAdapter(list[Message])


def text(shown):
    """What was said since the last prompt."""
    said = ""
    for message in shown["messages"]:
        said = "" if message["role"] == "user" else said
        said += message.get("content") or "" if message["role"] == "assistant" else ""
    return said


def results(shown):
    return [json.loads(message["content"]) for message in shown["messages"] if message["role"] == "tool"]


def is_over(shown):
    return not shown["running"] and shown["last"] in ("RUN_FINISHED", "RUN_ERROR")


def waits(shown):
    return is_over(shown) and shown["interrupts"]


def answer(shown, **payload):
    """To all that is asked."""
    return [
        {"interruptId": each["id"], "status": "resolved", "payload": payload} for each in shown["interrupts"]
    ]


def check(client, url, chat):
    """All events are valid, and the client's messages are the rows'."""
    shown = client("look", events=True)
    for event in shown["events"]:
        EVENT.validate_python(event)
    told = stored_messages(url, chat)
    MESSAGES.validate_python(told)
    assert shown["messages"] == told


def test_two_turns_with_approvals_a_refusal_and_a_question_end_as_their_rows(start_chats, start_client):
    url = f"{start_chats().url}/chats/agui"
    client = start_client("agui", url, "two")
    client("send", text=f"{BASH % 'yes'}\n{QUESTION}\n!say Done.")
    shown = client.wait(waits)
    (asked,) = shown["interrupts"]
    assert (asked["reason"], asked["message"]) == ("tool_call", "Run echo yes")
    assert asked["toolCallId"] == shown["messages"][-1]["toolCalls"][0]["id"]
    client("resume", resume=answer(shown, approved=True))
    shown = client.wait(lambda shown: waits(shown) and shown["interrupts"][0]["reason"] == "input_required")
    assert results(shown)[0]["detail"]["output"].strip() == "yes"
    client("resume", resume=answer(shown, answers=[["Pear"]]))
    shown = client.wait(lambda shown: is_over(shown) and "Done." in text(shown))
    assert results(shown)[1]["detail"]["questions"][0]["answers"] == ["Pear"]
    assert (shown["outcome"], shown["interrupts"]) == ("success", [])
    check(client, url, "two")

    client("send", text=BASH % "no")
    shown = client.wait(waits)
    client("resume", resume=answer(shown, approved=False, message="Rather not."))
    shown = client.wait(lambda shown: is_over(shown) and not shown["interrupts"])
    assert (results(shown)[2]["state"], results(shown)[2]["error"]) == ("refused", "Refused: Rather not.")
    assert [message["role"] for message in shown["messages"]].count("user") == 2
    check(client, url, "two")


@pytest.mark.full
def test_what_has_no_message_of_its_own_comes_as_activities_and_custom_events(start_chats, start_client):
    url = f"{start_chats().url}/chats/agui"
    client = start_client("agui", url, "all")
    client("send", text=ALL_KINDS)
    shown = client.wait(lambda shown: is_over(shown) and "Bye." in text(shown))
    activities = {
        message["activityType"]: message for message in shown["messages"] if message["role"] == "activity"
    }
    assert activities["opencode.todos"]["content"]["list"]["todos"][0]["text"] == "Bake"
    assert [each["content"].strip() for each in shown["messages"] if each["role"] == "reasoning"] == ["Hm."]
    assert results(shown)[1]["detail"]["answer"] == "All quiet."
    assert shown["custom"]["opencode.turn"]["status"] == "completed"
    assert shown["custom"]["opencode.turn"]["bill"]["output_tokens"] > 0
    assert shown["custom"]["opencode.tool"]["tool"]
    events = client("look", events=True)["events"]
    assert events[-1]["usage"][0]["outputTokens"] > 0
    for event in events:
        EVENT.validate_python(event)

    client("send", text="!error 400 Out of flour")
    shown = client.wait(lambda shown: is_over(shown) and shown["error"])
    assert "Out of flour" in shown["error"]
    client("reload")
    client.wait(lambda shown: is_over(shown) and shown["error"])
    check(client, url, "all")


@pytest.mark.full
def test_a_stop_ends_the_turn_and_keeps_what_was_said(start_chats, start_client, held):
    url = f"{start_chats().url}/chats/agui"
    client = start_client("agui", url, "stop")
    client("send", text=LONG)
    client.wait(lambda shown: "four" in text(shown))
    assert client("stop")["custom"]["stopped"] == 204
    held.set()
    client("reload")
    shown = client.wait(lambda shown: is_over(shown) and shown["outcome"] == "cancelled")
    assert text(shown).split() == ["one", "two", "three", "four"]
    check(client, url, "stop")


@pytest.mark.full
def test_a_reload_at_another_process_shows_all_that_was_said_and_goes_on(start_chats, start_client, held):
    first, other = start_chats(), start_chats()
    client = start_client("agui", f"{first.url}/chats/agui", "reload")
    client("send", text="!say Before.")
    client.wait(lambda shown: is_over(shown) and "Before." in text(shown))
    client("send", text=LONG)
    client.wait(lambda shown: "four" in text(shown))
    url = f"{other.url}/chats/agui"
    client("open", api=url, id="reload", headers=WHO)
    client("reload")
    client.wait(lambda shown: shown["running"] and "four" in text(shown))
    held.set()
    shown = client.wait(lambda shown: is_over(shown) and "six" in text(shown))
    assert text(shown).split() == ["one", "two", "three", "four", "five", "six"]
    check(client, url, "reload")


@pytest.mark.full
def test_a_turn_goes_on_though_its_worker_and_then_the_server_were_killed(
    start_chats, start_client, own_server, held, tmp_path
):
    server = own_server()
    dies = start_chats(server)
    client = start_client("agui", f"{dies.url}/chats/agui", "killed")
    client("send", text=f"{BASH % 'yes'}\n{LONG}")
    client.wait(waits)
    dies.kill()
    with sqlite3.connect(tmp_path / "chats.sqlite3") as rows_of:
        rows_of.execute("UPDATE prompts SET opencode_turn_lease = '2020-01-01'")
    url = f"{start_chats(server).url}/chats/agui"
    client("open", api=url, id="killed", headers=WHO)
    client("reload")
    client("resume", resume=answer(client.wait(waits), approved=True))
    client.wait(lambda shown: "four" in text(shown))
    server.kill() if hasattr(server, "kill") else server.stop()
    own_server(port=int(server.url.rpartition(":")[2]), password=server.password)
    held.set()
    shown = client.wait(lambda shown: is_over(shown) and (shown["error"] or not shown["interrupts"]))
    assert text(shown).split()[:4] == ["one", "two", "three", "four"]
    client("reload")
    client.wait(is_over)
    check(client, url, "killed")


@pytest.mark.full
def test_a_stream_that_lasts_too_long_ends_and_the_client_goes_on(start_chats, start_client, held):
    url = f"{start_chats(SECONDS='1').url}/chats/agui"
    client = start_client("agui", url, "again")
    client("send", text=LONG)
    client.wait(lambda shown: shown["outcome"] == "success" and "four" in text(shown))
    held.set()
    shown = client.wait(lambda shown: is_over(shown) and "six" in text(shown))
    assert text(shown).split() == ["one", "two", "three", "four", "five", "six"]


def test_what_the_rows_do_not_know_is_refused_as_a_run_error(start_chats, start_client):
    url = f"{start_chats().url}/chats/agui"
    client = start_client("agui", url, "bad")
    client("send", text=BASH % "yes")
    shown = client.wait(waits)

    def post(**more):
        said = {
            "threadId": "bad",
            "runId": "r",
            "messages": [],
            "state": {},
            "tools": [],
            "context": [],
            **more,
        }
        RunAgentInput.model_validate(said)
        response = httpx2.post(url, json=said, headers=WHO, timeout=100)
        assert response.status_code == 200
        event = json.loads(response.text.removeprefix("data: "))
        EVENT.validate_python(event)
        return event["type"], event["code"], event["message"]

    hello = {"id": "1", "role": "user", "content": "hello"}
    assert post(messages=[hello])[:2] == ("RUN_ERROR", "409")
    assert "waits for answers to per_" in post(messages=[hello])[2]
    assert post(protocolVersion="2.0") == ("RUN_ERROR", "400", "There is no AG-UI 2.0 here, only 1.0.")
    other = {"id": "prompts-999-prompt", "role": "user", "content": "hello"}
    assert "another turn" in post(messages=[other])[2]
    changed = [
        {**each, "interruptId": each["interruptId"][:-1] + "x"} for each in answer(shown, approved=True)
    ]
    assert "has changed" in post(resume=changed)[2]
    unknown = [{"interruptId": "per_x:1", "status": "resolved", "payload": {"approved": True}}]
    assert post(resume=unknown)[1] == "409"
    empty = [{**each, "payload": {}} for each in answer(shown, approved=True)]
    assert post(resume=empty) == ("RUN_ERROR", "400", 'The payload must be like {"approved": true}.')
    given = answer(shown, approved=True)
    client("resume", resume=given)
    client.wait(lambda shown: is_over(shown) and results(shown))
    assert "waits for no answer" in post(resume=given)[2]
    picture = [{"type": "image", "source": {"type": "url", "value": "http://x/y.png"}}]
    assert "only have text" in post(messages=[{**hello, "content": picture}])[2]
    assert post(messages=[{**hello, "content": "x" * 2**20}])[1] == "413"
    assert post(threadId="secret") == ("RUN_ERROR", "404", "There is no such chat, or not for you.")
    assert "JSON" in httpx2.post(url, content=b"{", headers=WHO, timeout=100).text
