"""What the stand-in for a 2.x server does with sessions and prompts."""

from __future__ import annotations

import gc
import signal
import socket
import threading
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
from fix_fake_v2 import until

ASK_SHELL = [{"action": "shell", "resource": "*", "effect": "ask"}]


def texts(messages):
    return [
        part["text"]
        for message in messages
        if message["type"] == "assistant"
        for part in message["content"]
        if part["type"] == "text"
    ]


def kinds(messages):
    return [message["type"] for message in messages]


def test_a_prompt_is_answered(v2):
    v2.create("ses_1", title="One")
    v2.prompt("ses_1", "Hello", id="msg_1")
    v2.wait("ses_1")
    messages = v2.messages("ses_1")
    assert kinds(messages) == ["user", "assistant", "idle"]
    assert texts(messages) == ['You said: "Hello".']
    assert messages[-1]["outcome"] == "succeeded"
    assert v2.data("GET", "/api/session/ses_1")["outcome"] == "succeeded"


def test_a_session_without_a_title_is_given_one(v2):
    v2.data("POST", "/api/session", {"id": "ses_1"})
    v2.prompt("ses_1", "Hello there, how are you today?")
    until(lambda: v2.data("GET", "/api/session/ses_1").get("title") == "Hello there, how are you")
    assert "session.usage.recorded" in [event["type"] for event in v2.log("ses_1")]


def test_a_session_is_created_once_by_its_id(v2):
    first = v2.create("ses_1", title="One", permissions=ASK_SHELL)
    again = v2.create("ses_1", title="Two")
    assert again == first
    assert v2.data("GET", "/api/session") == [first]


def test_a_prompt_is_admitted_once_by_its_id(v2):
    v2.create("ses_1")
    first = v2.prompt("ses_1", "Hello", id="msg_1")
    v2.wait("ses_1")
    assert v2.prompt("ses_1", "Other words", id="msg_1")["payload"] == first["payload"]
    v2.wait("ses_1")
    kinds_of = kinds(v2.messages("ses_1"))
    assert (kinds_of.count("user"), kinds_of.count("assistant")) == (1, 1)


def test_a_prompts_id_fails_in_another_session(v2):
    v2.create("ses_1")
    v2.create("ses_2")
    v2.prompt("ses_1", "Hello", id="msg_1")
    status, error = v2.ask("POST", "/api/session/ses_2/prompt", {"id": "msg_1", "text": "Hello"})
    assert (status, error["_tag"]) == (409, "ConflictError")


def test_a_permission_that_is_always_given_is_saved_on_disk(v2, fake_v2):
    v2.create("ses_1", permissions=ASK_SHELL)
    v2.prompt("ses_1", '!tool shell {"command": "echo one"}')
    asked = until(lambda: v2.data("GET", "/api/session/ses_1/permission"))[0]
    assert asked["resources"] == ["echo one"]
    v2.data("POST", f"/api/session/ses_1/permission/{asked['id']}/reply", {"decision": "always"})
    v2.wait("ses_1")
    fake_v2.kill()
    fake_v2.start()
    v2.create("ses_2", permissions=ASK_SHELL)
    v2.prompt("ses_2", '!tool shell {"command": "echo two"}')
    v2.wait("ses_2")
    assert texts(v2.messages("ses_2")) == ['Done. shell: "two"']


def test_a_turn_that_a_killed_server_ran_is_resumed(v2, fake_v2):
    v2.create("ses_1")
    v2.prompt("ses_1", '!tool shell {"command": "sleep 30"}\n!say Awake.', id="msg_1")
    until(lambda: [m for m in v2.messages("ses_1") if m["type"] == "assistant" and m["content"]])
    fake_v2.kill()
    fake_v2.start()
    v2.wait("ses_1")
    messages = v2.messages("ses_1")
    assert kinds(messages) == ["user", "assistant", "synthetic", "assistant", "idle"]
    assert messages[1]["content"][0]["state"]["error"]["type"] == "aborted"
    assert texts(messages) == ["Awake."]


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_a_process_that_ended_in_a_turn_goes_on_with_it(fake_v2_process, v2_of, number):
    v2 = v2_of(fake_v2_process)
    v2.create("ses_1")
    v2.prompt("ses_1", '!tool shell {"command": "sleep 30"}\n!say Awake.', id="msg_1")
    until(lambda: [m for m in v2.messages("ses_1") if m["type"] == "assistant" and m["content"]])
    fake_v2_process.end(number)
    fake_v2_process.start()
    v2.wait("ses_1")
    assert texts(v2.messages("ses_1")) == ["Awake."]
    types = [event["type"] for event in v2.log("ses_1")]
    assert types.count("session.execution.started") == 2
    assert types.count("session.execution.succeeded") == 1
    assert types.count("session.execution.interrupted") == (number == signal.SIGTERM)


def test_a_turn_that_no_start_survives_is_given_up(v2, fake_v2):
    v2.create("ses_1")
    v2.prompt("ses_1", "!slow 60\n!say It never comes so far.")
    for _ in range(11):
        until(lambda: v2.data("GET", "/api/session/active"))
        fake_v2.kill()
        fake_v2.start()
    assert v2.messages("ses_1")[-1]["outcome"] == "failed"
    assert v2.data("GET", "/api/session/active") == {}


def test_a_resumed_session_delivers_a_queued_prompt_at_once(v2, fake_v2):
    v2.create("ses_1")
    v2.prompt("ses_1", '!tool shell {"command": "sleep 30"}\n!say never said')
    v2.prompt("ses_1", "!say Both.", delivery="queue")
    until(lambda: [m for m in v2.messages("ses_1") if m["type"] == "assistant" and m["content"]])
    fake_v2.kill()
    fake_v2.start()
    v2.wait("ses_1")
    messages = v2.messages("ses_1")
    assert kinds(messages) == ["user", "assistant", "synthetic", "user", "assistant", "idle"]
    assert texts(messages) == ["Both."]


@pytest.mark.parametrize("rounds", range(6))
def test_a_connection_that_comes_as_the_server_is_killed_is_closed(fake_v2, rounds):
    loop, service, _ = fake_v2._running
    held, come, killed = threading.Event(), threading.Event(), threading.Event()

    def hold():
        held.set()
        come.wait()
        kill_after(rounds)

    def kill_after(left):
        if left:
            loop.call_soon(kill_after, left - 1)
        else:
            loop.create_task(service.kill()).add_done_callback(lambda _: killed.set())

    with ExitStack() as visitors:
        loop.call_soon_threadsafe(hold)
        held.wait()
        address = "127.0.0.1", urlsplit(fake_v2.url).port
        came = [visitors.enter_context(socket.create_connection(address, 30)) for _ in range(3)]
        came[0].sendall(b"GET /api/event HTTP/1.1\r\n\r\n")
        come.set()
        killed.wait()
        fake_v2.kill()
        gc.collect()  # Python warns of a socket that nobody closed, and a warning fails the test
        for visitor in came:
            with suppress(ConnectionError):
                while visitor.recv(4096):
                    pass  # an answer that was on its way
