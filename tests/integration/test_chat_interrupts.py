"""Ctrl-C in one of two chats that talk in the same conversation."""

from __future__ import annotations

import io
import threading

import pytest
from fix_cli import eventually
from interrupting import interrupt_soon
from rich.console import Console

from opencode_sessions import Client
from opencode_sessions.cli.conversing import Chat
from opencode_sessions.cli.database import Database
from opencode_sessions.cli.screen import Screen
from opencode_sessions.testing import ScriptedModel
from opencode_sessions.testing.v2.server import FakeServer

ANSWER = "word " * 40


@pytest.fixture
def model():
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def client(model):
    with FakeServer(model.config()) as server, Client(server.url, password=server.password) as client:
        yield client


@pytest.fixture
def database(tmp_path):
    def opened():
        return Database(f"sqlite:///{tmp_path}/chat.sqlite3")

    return opened


def chat_in(database, client):
    return Chat(database, "trip", client, Screen(Console(file=io.StringIO())))


def answers(database, chat):
    """The answers so far."""
    return [each.content for each in database.messages(chat.conversation) if each.content]


def test_ctrl_c_in_a_chat_that_waits_leaves_the_answer_of_another_chat(client, database):
    with database() as first, database() as second, database() as third:
        chat, waiting = (chat_in(each, client) for each in (first, second))
        results = []
        talking = threading.Thread(target=lambda: results.append(chat.say(f"!slow 0.1\n!say {ANSWER}")))
        talking.start()
        eventually(lambda: answers(third, chat))
        interrupt_soon()
        stopped = waiting.say("and then?")
        talking.join()
        assert results[0].status == "completed", results[0].error
        assert results[0].content == ANSWER.strip()
        assert stopped.status == "cancelled"
        assert stopped.error["by"] == "Ctrl-C"
        prompts = [each for each in client.messages(results[0].session_id) if each.info.role == "user"]
        assert len(prompts) == 1


def test_ctrl_c_in_a_chat_that_answers_keeps_the_partial_answer(client, database):
    with database() as first, database() as second:
        chat = chat_in(first, client)

        def interrupt_in_the_middle():
            eventually(lambda: answers(second, chat))
            interrupt_soon()

        threading.Thread(target=interrupt_in_the_middle).start()
        stopped = chat.say(f"!slow 0.1\n!say {ANSWER * 10}")
        assert stopped.status == "cancelled"
        assert stopped.content.startswith("word")
        assert answers(second, chat) == [stopped.content]
        assert stopped.just_created
        assert stopped.duration > 0
