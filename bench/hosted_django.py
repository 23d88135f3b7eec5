"""What runs in the process of the test project, once Django is set up there: a server, and orders that are given."""

from __future__ import annotations

import socket
import threading
import time
from multiprocessing.connection import Connection

import uvicorn
from chat_project.chat.models import Conversation, Message
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.db import connections

from opencode_sessions.django import enqueue
from opencode_sessions.django.host import dispatcher


def serve(pipe: Connection, listening: socket.socket) -> None:
    """Until it is terminated."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    connections.close_all()  # those that are counted are not to be ours
    threading.Thread(target=_obey, args=(pipe,), daemon=True).start()
    config = uvicorn.Config(get_asgi_application(), lifespan="off", ws="none", log_level="warning")
    uvicorn.Server(config).run([listening])


def make(prompt: str, count: int) -> list[int]:
    """The keys of new messages, each of a record of its own."""
    return [
        Message.objects.create(prompt=prompt, conversation=Conversation.objects.create(title="bench")).pk
        for _ in range(count)
    ]


def run(keys: list[int]) -> float:
    """Have their turns run. The seconds of CPU that this process had spent before."""
    spent = time.process_time()
    for message in Message.objects.filter(pk__in=keys):
        enqueue(message)
    return spent


def wait() -> float:
    """For all turns to end. The seconds of CPU that this process has spent."""
    while not dispatcher().idle:
        time.sleep(0.05)
    return time.process_time()


def answers(keys: list[int]) -> list[tuple[str, str]]:
    """How they ended, and what they say."""
    return list(Message.objects.filter(pk__in=keys).values_list("status", "content"))


_ORDERS = {order.__name__: order for order in (make, run, wait, answers)}


def _obey(pipe: Connection) -> None:
    while True:
        name, arguments = pipe.recv()
        answer = _ORDERS[name](*arguments)
        connections.close_all()
        pipe.send(answer)
