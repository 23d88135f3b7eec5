"""A process is told to end while a browser watches a turn: the stream ends at once, and so does the process."""

from __future__ import annotations

import time

import pytest
from event_reader import EventReader
from fix_django_app import wait_until

LONG = "!say one two three four five six seven eight nine ten"
SCRIPT = """
import django, uvicorn
from chat_project.asgi import application
uvicorn.run(application, port={port})
"""
GUNICORN = ["-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2"]
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "chat_project.asgi:application", "--port", "{port}"],
    "uvicorn in a script": ["-c", SCRIPT],
    "gunicorn": [*GUNICORN, "chat_project.wsgi"],
    "gunicorn with threads": [*GUNICORN, "--threads", "4", "chat_project.wsgi"],
    "gunicorn that preloads": [*GUNICORN, "--preload", "chat_project.wsgi"],
    "gunicorn with uvicorn_worker": [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "chat_project.asgi"],
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "chat_project.asgi:application"],
    "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "chat_project.asgi:application"],
    "granian": ["-m", "granian", "--interface", "asgi", "--port", "{port}", "chat_project.asgi:application"],
}
CUT = {"hypercorn"}  # its worker gets no signal, and cuts what is open after 3 s
LONGEST = 30.0  # seconds, on a busy machine; a stream would last for 45 at least


@pytest.mark.full
@pytest.mark.parametrize("chat_project", ["sqlite"], indirect=True)
@pytest.mark.parametrize("server_name", SERVERS)
def test_a_process_that_is_told_to_end_ends_its_streams_first(chat_project, server_name, held):
    chat_project.environ["DJANGO_SETTINGS_MODULE"] = "web_project.settings"
    site = chat_project.serve(*SERVERS[server_name])
    message = site.send(LONG)
    wait_until(lambda: site.row(message)["content"])
    with EventReader(f"http://127.0.0.1:{site.port}/opencode/turns/chat.message/{message}/events") as browser:
        browser.wait(lambda browser: "three" in str(browser.events))
        began = time.monotonic()
        site.terminate()
        took = time.monotonic() - began
        browser.wait(lambda browser: browser.over)
    assert server_name in CUT or browser.events[-1] == ("again", None, {}), site.process.log.read_text()
    assert took < LONGEST
    assert chat_project.shell("[each.pk for each in Message.objects.abandoned()]") == [message]
