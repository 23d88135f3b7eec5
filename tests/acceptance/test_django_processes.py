"""Processes that serve a project are killed and stopped, and the next ones take up their turns: all of it real."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from fix_django_app import wait_until
from selection import sample

SAID = "one two three four five six seven eight nine ten"
LONG = f"!say {SAID}"  # where it is held in its middle, nobody ends it before its process is killed


def ended(site, message):
    return wait_until(
        lambda: row if (row := site.row(message))["status"] not in ("pending", "streaming") else None
    )


def has_begun(site, message):
    return wait_until(lambda: site.row(message)["content"])


@pytest.mark.lines(full="v2")
def test_a_process_that_is_killed_in_a_turn_is_replaced_by_the_next_that_starts(chat_project, held):
    first = chat_project.serve()
    running, waiting = first.send(LONG, lease=1.0), first.send("what waits behind it")
    has_begun(first, running)
    first.kill()
    # The promise to run the one that waits holds for a minute, and that has passed now.
    past = "timezone.now() - timedelta(seconds=1)"
    assert chat_project.shell(f"Message.objects.filter(pk={waiting}).update(opencode_turn_lease={past})") == 1
    time.sleep(1.0)
    second = chat_project.serve()
    held.set()
    row = ended(second, running)
    assert (row["status"], row["content"], row["opencode_turn_epoch"]) == ("completed", SAID, 2)
    assert ended(second, waiting)["status"] == "completed"


@pytest.mark.lines
@pytest.mark.full
@pytest.mark.parametrize("chat_project", ["sqlite"], indirect=True)
def test_what_waited_is_answered_after_what_ran_when_their_process_was_killed(chat_project, held):
    first = chat_project.serve()
    running, waiting = first.send(LONG, lease=25.0), first.send("what waits behind it")
    has_begun(first, running)
    first.kill()
    # Found first, as a promise is shorter than the lease of a turn.
    past = "timezone.now() - timedelta(seconds=1)"
    assert chat_project.shell(f"Message.objects.filter(pk={waiting}).update(opencode_turn_lease={past})") == 1
    second = chat_project.serve()
    held.set()
    row = ended(second, running)
    assert (row["status"], row["content"], row["error"]) == ("completed", SAID, None)
    assert ended(second, waiting)["status"] == "completed"
    later = f"Message.objects.get(pk={waiting}).started_at >= Message.objects.get(pk={running}).finished_at"
    assert chat_project.shell(later)


@pytest.mark.lines
@pytest.mark.full
def test_two_processes_answer_the_messages_of_a_conversation_in_their_order(chat_project, held):
    here, there = chat_project.serve(), chat_project.serve()
    first = here.send(LONG)
    has_begun(here, first)
    messages = [first, there.send("second"), here.send("third"), here.send("fourth")]
    held.set()
    assert {ended(here, message)["status"] for message in messages} == {"completed"}
    by_start = "[each.pk for each in Message.objects.order_by('started_at')]"
    assert chat_project.shell(by_start) == messages


SCRIPT = """
import django, uvicorn
from chat_project.asgi import application
uvicorn.run(application, port={port})
"""
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "chat_project.asgi:application", "--port", "{port}"],
    "uvicorn in a script": ["-c", SCRIPT],
    "runserver": [],
    "gunicorn": ["-m", "gunicorn", "--threads", "4", "--bind", "127.0.0.1:{port}", "chat_project.wsgi"],
    "waitress": ["-m", "waitress", "--listen", "127.0.0.1:{port}", "chat_project.wsgi:application"],
}


@pytest.mark.parametrize("chat_project", ["sqlite"], indirect=True)
@pytest.mark.parametrize("server_name", sample(SERVERS, "uvicorn"))
def test_a_process_that_is_told_to_end_leaves_its_turns_to_the_next_at_once(chat_project, server_name, held):
    site = chat_project.serve(*SERVERS[server_name])
    running, waiting = site.send(LONG), site.send("what waits behind it")
    has_begun(site, running)
    assert site.terminate() == (0 if server_name == "gunicorn" else -signal.SIGTERM)
    assert chat_project.shell("[each.pk for each in Message.objects.abandoned()]") == [running, waiting]


@pytest.mark.lines
@pytest.mark.full
@pytest.mark.parametrize("chat_project", ["sqlite"], indirect=True)
def test_a_process_that_is_stopped_leaves_its_turns_to_the_next_at_once(chat_project, held):
    first = chat_project.serve()
    running, waiting = first.send(LONG), first.send("what waits behind it")
    has_begun(first, running)
    first.interrupt()
    assert chat_project.shell("[each.pk for each in Message.objects.abandoned()]") == [running, waiting]
    second = chat_project.serve()
    held.set()
    row = ended(second, running)
    assert (row["error"], row["content"]) == (None, SAID)
    assert ended(second, waiting)["status"] == "completed"


@pytest.mark.full
@pytest.mark.parametrize("chat_project", ["sqlite"], indirect=True)
def test_the_command_takes_up_what_was_left_behind_until_it_is_told_to_stop(chat_project, held):
    watching = chat_project.start("opencode_recover", "--watch", "0.5")
    site = chat_project.serve()
    message = site.send(LONG, lease=1.0)
    has_begun(site, message)
    site.kill()
    held.set()
    wait_until(lambda: f"chat.Message {message}: completed" in watching.log.read_text())
    watching.send_signal(signal.SIGTERM)
    assert watching.wait(60) == 0
    assert chat_project.shell(f"Message.objects.get(pk={message}).content") == SAID


FORKING = """
import os, sys, time, django
django.setup()
from django.db import connections
from chat_project.chat.models import Conversation, Message
from opencode_sessions.django import enqueue

def sent(prompt):
    message = Message.objects.create(conversation=Conversation.objects.create(), prompt=prompt)
    enqueue(message)
    return message.pk

def until(key, **said):
    while not Message.objects.filter(pk=key, **said).exists():
        time.sleep(0.05)

running = sent("!say one two three four five six seven eight nine ten")
until(running, content__startswith="one")
connections.close_all()
child = os.fork()
if child == 0:
    until(sent("of the child"), status="completed")
    sys.exit(0)
_, status = os.waitpid(child, 0)
until(running, status="streaming")
assert not Message.objects.abandoned().exists()  # the child, which has ended, gave nothing of ours away
open("looked", "w").close()
until(running, status="completed", opencode_turn_epoch=1)
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.full
@pytest.mark.parametrize("chat_project", ["sqlite"], indirect=True)
def test_a_forked_child_runs_its_own_turns_and_leaves_those_of_its_parent_alone(chat_project, held, tmp_path):
    threading.Thread(target=lambda: wait_until((tmp_path / "looked").exists, 170) and held.set()).start()
    assert chat_project.python(FORKING) == "0\n"
