"""Turns that workers of Celery run, in processes of their own: their order, and that those that wait hold no slot."""

from __future__ import annotations

import pytest
from fix_django_app import wait_until

pytestmark = [pytest.mark.full, pytest.mark.parametrize("chat_project", ["postgres"], indirect=True)]

ENQUEUE = """
import django
django.setup()
from chat_project.chat.models import Conversation
from chat_project.tickets.models import Ticket
from opencode_sessions.django import enqueue

conversation = Conversation.objects.create(title="one")
for number in range(6):
    ticket = Ticket.objects.create(pk=f"{9 - number:032x}", prompt=f"number {number}", conversation=conversation)
    enqueue(ticket)
"""
TICKETS = "__import__('chat_project.tickets.models').tickets.models.Ticket.objects"


def test_two_workers_answer_messages_with_any_keys_in_the_order_in_which_they_were_enqueued(queued_project):
    queued_project.python(ENQUEUE)
    for _ in range(2):
        queued_project.work()
    left = f"{TICKETS}.exclude(status='completed').count()"
    wait_until(lambda: queued_project.shell(left) == 0, 120)
    by_start = f"[each.prompt for each in {TICKETS}.order_by('started_at')]"
    assert queued_project.shell(by_start) == [f"number {number}" for number in range(6)]


ASKING = '!tool bash {"command": "true", "description": "x"}\n!say done'
SEND = """
import django
django.setup()
from chat_project.chat.models import Conversation, Message
from opencode_sessions.django import enqueue

for prompt in PROMPTS:
    message = Message.objects.create(conversation=Conversation.objects.create(), prompt=prompt)
    enqueue(message)
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
HOW_OFTEN_PROMPTED = (
    "[sum(each.info.role == 'user' for each in client().messages(message.opencode_prompt_session_id))"
    " for message in Message.objects.all()]"
)


def send(project, *prompts):
    """Enqueue each in a conversation of its own, in a process that then ends."""
    project.python(SEND.replace("PROMPTS", repr(prompts)))


def test_a_worker_all_of_whose_turns_wait_for_people_runs_others_and_another_worker_goes_on_after_the_answers(
    queued_project,
):
    queued_project.configure(PERMISSIONS_FOR="opencode_sessions.ASK_FIRST")
    first = queued_project.work(slots=4)
    send(queued_project, *[ASKING] * 4)
    wait_until(lambda: queued_project.shell("Message.objects.parked().count()") == 4, 120)
    send(queued_project, "hello")
    done = "Message.objects.filter(status='completed').count()"
    wait_until(lambda: queued_project.shell(done) == 1, 120)
    first.kill()
    first.wait()
    queued_project.python(ANSWER)
    assert queued_project.shell("Message.objects.waiting_for_answer().count()") == 0
    queued_project.work(slots=4)
    wait_until(lambda: queued_project.shell(done) == 5, 120)
    assert queued_project.shell(HOW_OFTEN_PROMPTED) == [1] * 5
