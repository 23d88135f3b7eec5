"""The tutorials are followed as they stand: their files are written, their commands run, and a visitor is answered."""

from __future__ import annotations

import html
import re
import signal
import subprocess
import sys

import httpx2
import pytest
from fix_django_app import wait_until
from fix_docs import page
from json_client import JsonClient
from ports import free_port

PROMPT = "Where shall we eat?"
ASKS = '!tool bash {"command": "echo hello", "description": "greets"}'


@pytest.fixture(scope="module")
def django_site(docs_project):
    """The address of the tutorial's site, as `runserver` serves it."""
    project = docs_project("tutorial-django.md")
    assert not re.search(
        r"^(broken|missing|warning)", project.run("manage.py", "opencode_doctor"), re.MULTILINE
    )
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", project.path / "log"
    command = [sys.executable, "manage.py", "runserver", "--noreload", str(port)]
    with log.open("wb") as said:
        site = subprocess.Popen(command, cwd=project.path, env=project.environ, stdout=said, stderr=said)
    wait_until(lambda: b"Starting" in log.read_bytes() and _answers(url))
    yield url
    site.kill()
    site.wait()
    assert "Traceback" not in log.read_text()


def _answers(url):
    try:
        return httpx2.get(url).status_code
    except httpx2.TransportError:
        return None


def test_the_django_site_streams_an_answer_to_its_visitor_alone(django_site):
    with httpx2.Client(base_url=django_site, timeout=100, follow_redirects=True) as visitor:
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', visitor.get("/").text)[1]
        shown = visitor.post("/", data={"prompt": PROMPT, "csrfmiddlewaretoken": token}).text
        stream = re.search(r'<opencode-turn src="([^"]+)"', shown)[1]
        with visitor.stream("GET", stream) as events:
            said = events.read().decode()
        assert "event: end" in said
        assert f'You said: "{PROMPT}".' in html.unescape(visitor.get("/").text)
    assert httpx2.get(django_site + stream, timeout=100).status_code == 404


@pytest.mark.full
def test_in_a_browser_the_django_site_shows_what_the_agent_asks(django_site, chromium):
    tab = chromium.new_page()
    tab.goto(django_site)
    tab.fill("input[name=prompt]", ASKS)
    tab.click("text=Ask")
    tab.click("text=Allow once", timeout=60_000)
    tab.wait_for_selector("opencode-turn[status=completed]", timeout=60_000)
    assert "hello" in tab.text_content("opencode-turn")
    tab.close()


def test_the_fastapi_app_streams_an_answer(docs_folder, serve):
    served = serve("app:app", docs_folder("tutorial-fastapi.md").path)
    client = JsonClient()
    with httpx2.Client(base_url=served.url, timeout=100) as visitor:
        assert "<title>Ask</title>" in visitor.get("/").text
        made = visitor.post("/messages", json={"prompt": PROMPT}).json()
        with visitor.stream("GET", f"/turns/{made['table']}/{made['pk']}/events") as events:
            client.take(events.read())
    assert client.end == "completed"
    assert client.state["parts"][-1]["markdown"] == f'You said: "{PROMPT}".'
    assert served.terminate() in (0, -signal.SIGTERM)


@pytest.mark.parametrize("name", ["tutorial-django.md", "tutorial-fastapi.md"])
def test_the_commands_of_a_tutorial_are_those_that_its_test_runs(name):
    """A new command is run by a test, or is known to need what a test cannot have: the network, a second terminal."""
    known = (
        "pip install 'opencode-sessions[",
        "npm install opencode-ai",
        "opencode-sessions serve --offline",
        "django-admin startproject shop .",
        "python manage.py startapp chat",
        "python manage.py makemigrations chat",
        "python manage.py migrate",
        "python manage.py opencode_doctor",
        "python manage.py runserver",
        "uvicorn app:app",
    )
    commands = re.findall(r"^\$ (.*)$", page(name), re.MULTILINE)
    assert [command for command in commands if not command.startswith(known)] == []
