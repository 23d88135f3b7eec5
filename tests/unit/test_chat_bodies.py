"""The body of a request to a chat protocol: how large it may be, and why."""

from __future__ import annotations

import json
import re
import tracemalloc

import pytest

from opencode_sessions.host import Refused
from opencode_sessions.host.agui import AGUI_CHAT
from opencode_sessions.host.chat_bodies import json_object
from opencode_sessions.host.chats import ChatRequest, ChatService
from opencode_sessions.host.vercel import VERCEL_CHAT
from opencode_sessions.runtime.stepping import run_sync


def test_a_body_with_a_large_file_is_read():
    assert json_object(json.dumps({"url": "A" * 2_000_000}).encode())["url"] == "A" * 2_000_000


def test_a_body_that_is_large_for_another_reason_is_refused_before_it_is_parsed():
    with pytest.raises(Refused, match="without its files") as caught:
        json_object(b'{"x": [' + b"{}," * 500_000 + b"{}")
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("text", "message"), [("Not now.", "Not now."), ({"a": 1}, None), (7, None), ("", None)]
)
def test_the_error_of_a_dismissed_question_is_passed_on_only_if_it_is_a_text(text, message):
    part = {"toolName": "question", "state": "output-error", "input": {"id": "que_1"}, "errorText": text}
    body = {"id": "1", "messages": [{"id": "messages-1", "role": "assistant", "parts": [part]}]}
    (given,) = VERCEL_CHAT.read(json.dumps(body).encode(), {}, None).answers
    assert (given.reply, given.message) == ("reject", message)


class NoChats:
    """Chats whose database raises an error for every text with U+0000."""

    def turns(self, *given):
        raise AssertionError(given)

    send = turns


@pytest.mark.parametrize(
    ("chat", "prompt", "status", "said"),
    [("1", "a\0b", 400, "U+0000"), ("1\0", "a", 404, "no such chat"), ("1\0", None, 404, "no such chat")],
)
def test_a_prompt_or_a_chat_with_the_character_zero_is_refused_before_the_database_is_asked(
    chat, prompt, status, said
):
    service = ChatService(VERCEL_CHAT, NoChats(), None, None)
    with pytest.raises(Refused, match=re.escape(said)) as caught:
        run_sync(service.turn(ChatRequest(chat=chat, prompt=prompt), None))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("given", "taken"),
    [("msg-1", "msg-1"), ("a" * 255, "a" * 255), ("a" * 256, None), ("a\0", None), ("", None), (7, None)],
)
def test_the_id_of_a_message_is_taken_if_a_column_can_keep_it(given, taken):
    vercel = {"role": "user", "id": given, "parts": [{"type": "text", "text": "hello"}]}
    body = json.dumps({"id": "1", "messages": [vercel]}).encode()
    assert VERCEL_CHAT.read(body, {}, None).message_id == taken
    agui = {"role": "user", "id": given, "content": "hello"}
    body = json.dumps({"threadId": "1", "runId": "r", "messages": [agui]}).encode()
    assert AGUI_CHAT.read(body, {}, None).message_id == taken


def test_a_large_file_in_a_body_is_not_copied_to_check_its_text():
    body = json.dumps({"url": "A" * 4_000_000, "name": "caf\u00e9"}).encode()
    tracemalloc.start()
    json_object(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * len(body)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a": "\ud800"}',
        rb'{"\udfff": 1}',
        rb'{"a": [{"b": ["caf\u00e9 \ud800"]}]}',
        b'{"a": "\xed\xa0\x80"}',
    ],
)
def test_a_body_with_half_a_character_is_refused(body):
    with pytest.raises(Refused, match="must be JSON"):
        json_object(body)
    assert json_object(rb'{"a": "\ud83d\ude42"}') == {"a": "\U0001f642"}
