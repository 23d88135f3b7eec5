"""The Vercel AI SDK's own client, against an app of its own: what it shows at the end is what the rows say."""

from __future__ import annotations

import json
import sqlite3

import httpx2
import pytest
from fix_chats import ALL_KINDS, BASH, LONG, QUESTION, WHO, stored_messages


def parts(shown, kind):
    return [part for part in shown["messages"][-1]["parts"] if part["type"] == kind]


def text(shown):
    last = shown["messages"][-1] if shown["messages"] else {"role": "user"}
    return "".join(part["text"] for part in parts(shown, "text")) if last["role"] == "assistant" else ""


def calls(shown, state):
    return [part for part in parts(shown, "dynamic-tool") if part["state"] == state]


def is_over(shown):
    return shown["status"] in ("ready", "error") and shown["messages"][-1]["role"] == "assistant"


def same(shown, url, chat):
    """The client's messages and the rows', but for the ids that the client makes, and for how it orders keys."""
    told = json.loads(json.dumps(stored_messages(url, chat)))
    for message in (*shown["messages"], *told):
        for part in message["parts"]:
            part.pop("preliminary", None)
        if message["role"] == "user":
            message.pop("id")
        message.pop("metadata", None) if message["role"] == "user" else None
    assert shown["messages"] == told


def test_two_turns_with_approvals_a_refusal_and_a_question_end_as_their_rows(start_chats, start_client):
    url = f"{start_chats().url}/chats/vercel"
    client = start_client("vercel", url, "two")
    client("send", text=f"{BASH % 'yes'}\n{QUESTION}\n!say Done.")
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "approval-requested"))
    (call,) = calls(shown, "approval-requested")
    assert call["approval"]["descriptor"]["target"] == "echo yes"
    assert shown["events"] == ["tool-calls"]
    client("approve", id=call["approval"]["id"], approved=True)
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "input-available"))
    (done,), (asked,) = calls(shown, "output-available"), calls(shown, "input-available")
    assert done["output"]["detail"]["output"].strip() == "yes"
    client("output", toolCallId=asked["toolCallId"], output=[["Pear"]])
    shown = client.wait(lambda shown: is_over(shown) and "Done." in text(shown))
    question = calls(shown, "output-available")[1]
    assert question["output"]["detail"]["questions"][0]["answers"] == ["Pear"]
    assert shown["events"][-1] == "stop"
    same(shown, url, "two")

    client("send", text=BASH % "no")
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "approval-requested"))
    client(
        "approve",
        id=calls(shown, "approval-requested")[0]["approval"]["id"],
        approved=False,
        reason="Rather not.",
    )
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "output-denied"))
    assert calls(shown, "output-denied")[0]["approval"]["reason"] == "Refused: Rather not."
    assert len(shown["messages"]) == 4
    same(shown, url, "two")


@pytest.mark.full
def test_what_has_no_form_of_its_own_comes_as_data(start_chats, start_client):
    url = f"{start_chats().url}/chats/vercel"
    client = start_client("vercel", url, "all")
    client("send", text=ALL_KINDS)
    shown = client.wait(lambda shown: is_over(shown) and "Bye." in text(shown))
    assert parts(shown, "data-todos")[0]["data"]["list"]["todos"][0]["text"] == "Bake"
    assert [part["text"].strip() for part in parts(shown, "reasoning")] == ["Hm."]
    (agent,) = (part for part in parts(shown, "dynamic-tool") if part["toolName"] == "task")
    assert agent["output"]["detail"]["answer"] == "All quiet."
    metadata = shown["messages"][-1]["metadata"]
    assert metadata["status"] == "completed"
    assert metadata["bill"]["output_tokens"] > 0
    by_type = lambda message: sorted(part["type"] for part in message["parts"])  # noqa: E731 - a key
    assert [*map(by_type, shown["messages"])] == [*map(by_type, stored_messages(url, "all"))]

    client("send", text="!error 400 Out of flour")
    shown = client.wait(lambda shown: shown["status"] == "error" and len(shown["messages"]) == 4)
    assert "Out of flour" in shown["error"]
    (error,) = parts(shown, "data-error")
    assert "Out of flour" in error["data"]["text"]


@pytest.mark.full
def test_a_stop_ends_the_turn_and_keeps_what_was_said(start_chats, start_client, held):
    url = f"{start_chats().url}/chats/vercel"
    client = start_client("vercel", url, "stop")
    client("send", text=LONG)
    client.wait(lambda shown: "four" in text(shown))
    shown = client("stop")
    assert shown["events"][-1] == 204
    held.set()
    client("reload")
    shown = client.wait(lambda shown: shown["events"] == ["interrupted"])
    assert text(shown).split() == ["one", "two", "three", "four"]
    assert shown["messages"][-1]["metadata"]["status"] == "cancelled"
    same(shown, url, "stop")


@pytest.mark.full
def test_a_reload_at_another_process_shows_all_that_was_said_and_goes_on(start_chats, start_client, held):
    first, other = start_chats(), start_chats()
    client = start_client("vercel", f"{first.url}/chats/vercel", "reload")
    client("send", text=LONG)
    client.wait(lambda shown: "four" in text(shown))
    url = f"{other.url}/chats/vercel"
    client("open", api=url, id="reload", headers=WHO)
    client("reload")
    client.wait(lambda shown: shown["status"] == "streaming" and "four" in text(shown))
    held.set()
    shown = client.wait(lambda shown: is_over(shown) and "six" in text(shown))
    assert text(shown).split() == ["one", "two", "three", "four", "five", "six"]
    same(shown, url, "reload")


@pytest.mark.full
def test_a_turn_goes_on_though_its_worker_and_then_the_server_were_killed(
    start_chats, start_client, own_server, held, tmp_path
):
    server = own_server()
    dies = start_chats(server)
    client = start_client("vercel", f"{dies.url}/chats/vercel", "killed")
    client("send", text=f"{BASH % 'yes'}\n{LONG}")
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "approval-requested"))
    dies.kill()
    with sqlite3.connect(tmp_path / "chats.sqlite3") as rows_of:
        rows_of.execute("UPDATE prompts SET opencode_turn_lease = '2020-01-01'")
    lives = start_chats(server)
    url = f"{lives.url}/chats/vercel"
    client("open", api=url, id="killed", headers=WHO)
    client("reload")
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "approval-requested"))
    client("approve", id=calls(shown, "approval-requested")[0]["approval"]["id"], approved=True)
    client.wait(lambda shown: "four" in text(shown))
    server.kill() if hasattr(server, "kill") else server.stop()
    own_server(port=int(server.url.rpartition(":")[2]), password=server.password)
    held.set()
    shown = client.wait(
        lambda shown: is_over(shown) and shown["events"] and shown["events"][-1] != "tool-calls"
    )
    assert text(shown).split()[:4] == ["one", "two", "three", "four"]
    client("reload")
    shown = client.wait(lambda shown: is_over(shown) and shown["events"])
    same(shown, url, "killed")


@pytest.mark.full
def test_a_stream_that_lasts_too_long_ends_and_the_client_goes_on(start_chats, start_client, held):
    url = f"{start_chats(SECONDS='1').url}/chats/vercel"
    client = start_client("vercel", url, "again")
    client("send", text=LONG)
    client.wait(lambda shown: len(shown["events"]) > 1 and "four" in text(shown))
    held.set()
    shown = client.wait(lambda shown: shown["events"][-1] == "stop")
    assert text(shown).split() == ["one", "two", "three", "four", "five", "six"]


@pytest.mark.full
def test_what_the_rows_do_not_know_is_refused_in_words(start_chats, start_client):
    url = f"{start_chats().url}/chats/vercel"
    client = start_client("vercel", url, "bad")
    client("send", text=BASH % "yes")
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "approval-requested"))
    asking = shown["messages"]
    answered = json.loads(json.dumps(asking))
    (call,) = calls({"messages": answered}, "approval-requested")
    call["state"], call["approval"]["approved"] = "approval-responded", True

    def post(messages, **more):
        body = {"id": "bad", "messages": messages, "trigger": "submit-message", **more}
        response = httpx2.post(url, json=body, headers=WHO, timeout=100)
        return response.status_code, response.text

    other = [*answered[:-1], {**answered[-1], "id": "prompts-999"}]
    assert post(other) == (409, "This is about another turn than the chat's newest one. Load the chat again.")
    changed = json.loads(json.dumps(answered))
    calls({"messages": changed}, "approval-responded")[0]["approval"]["descriptor"]["shown"] = "0" * 64
    assert post(changed)[0] == 409
    assert "has changed" in post(changed)[1]
    assert post(asking) == (
        400,
        "The last message says nothing new: it must ask something, or answer what is asked.",
    )
    client("approve", id=call["approval"]["id"], approved=True)
    client.wait(lambda shown: is_over(shown) and calls(shown, "output-available"))
    assert post(answered)[0] == 409
    assert "waits for no answer" in post(answered)[1]
    assert post(answered[:1], messageId="x") == (
        409,
        "A message that was sent cannot be changed. Send a new one.",
    )
    file = {"role": "user", "parts": [{"type": "file", "url": "data:,x", "mediaType": "text/plain"}]}
    assert post([file]) == (400, "A prompt can only have text here, and no file.")
    many = {"role": "user", "parts": [{"type": "text", "text": "x" * 2**20}]}
    assert post([many])[0] == 413
    assert httpx2.post(url, content=b"{", headers=WHO, timeout=100).status_code == 400
    version = {"x-vercel-ai-ui-message-stream": "v2"}
    response = httpx2.post(url, json={"id": "bad"}, headers=WHO | version, timeout=100)
    assert (response.status_code, response.text) == (400, "There is no UI message stream v2 here, only v1.")
    client("regenerate")
    shown = client.wait(lambda shown: shown["status"] == "error")
    assert shown["error"] == "There is nothing to be tried again: it is completed."
    assert httpx2.get(f"{url}/nothing/stream", headers=WHO, timeout=100).status_code == 204
    for path in ("/secret", "/secret/stream"):
        answer = httpx2.get(url + path, headers=WHO, timeout=100)
        assert answer.text == "There is no such chat, or not for you."
    assert httpx2.get(f"{url}/bad", timeout=100).status_code == 401
