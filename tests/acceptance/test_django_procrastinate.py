"""Turns of a Django project that a worker of Procrastinate runs, in a process of its own."""

from __future__ import annotations

import pytest
from fix_django_app import wait_until

pytestmark = [pytest.mark.full, pytest.mark.parametrize("chat_project", ["postgres"], indirect=True)]

ASKING = '!tool bash {"command": "true", "description": "x"}\n!say done'
SEND = """
import django
django.setup()
from chat_project.chat.models import Conversation, Message
from opencode_sessions.django import enqueue

for prompt in PROMPTS:
    enqueue(Message.objects.create(conversation=Conversation.objects.create(), prompt=prompt))
"""
ANSWER = """
import django
django.setup()
from chat_project.chat.models import Message
from opencode_sessions import Answer
from opencode_sessions.django import turn_for

for message in Message.objects.waiting_for_answer():
    turn_for(message).answer(message.asks[0]["id"], Answer.once())
"""


def test_a_worker_runs_turns_and_goes_on_with_one_that_was_answered(chat_project):
    chat_project.configure(
        RUNNER="chat_project.procrastinate_app.turns", PERMISSIONS_FOR="opencode_sessions.ASK_FIRST"
    )
    chat_project.environ["CHAT_APPS"] = "procrastinate.contrib.django"
    chat_project.run("migrate", "--run-syncdb", "--verbosity", "0")
    chat_project.python(SEND.replace("PROMPTS", repr([ASKING, "hello"])))
    chat_project.start("procrastinate", "worker", "--concurrency", "1")
    done = "Message.objects.filter(status='completed').count()"
    wait_until(lambda: chat_project.shell(f"{done} + Message.objects.parked().count()") == 2, 120)
    chat_project.python(ANSWER)
    wait_until(lambda: chat_project.shell(done) == 2, 120)
