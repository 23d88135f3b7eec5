"""What the README shows is run as it stands there, against the real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from fix_docs import files_of, page
from json_client import JsonClient

README = Path(__file__).parents[2] / "README.md"
DJANGO_SETTINGS = """
SECRET_KEY = "test"
INSTALLED_APPS = ["chat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": {"timeout": 30}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
DJANGO_USE = """
import time
import django
from django.core.management import call_command
from django.test import RequestFactory
django.setup()
call_command("makemigrations", "chat", verbosity=0)
call_command("migrate", verbosity=0)

from chat.models import Message
from chat.views import send
send(RequestFactory().post("/", {"prompt": "Where shall we eat?"}))
while not (message := Message.objects.get()).finished_at:
    time.sleep(0.1)
print(message.status, message.content)
print(message.conversation.opencode_session_id, message.status, message.cost)
"""


def example(name):
    found = re.findall(rf"^```python {name}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"the README has {len(found)} examples named {name}"
    return found[0]


@pytest.fixture
def run(server, tmp_path):
    def run(code, **environment):
        reach = {"OPENCODE_BASE_URL": server.url, "OPENCODE_SERVER_PASSWORD": server.password}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env=os.environ | reach | environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


def test_the_sqlalchemy_example(run):
    done = run(
        re.search(r"^```python sqlalchemy\n(.*?)^```$", page("sqlalchemy.md"), re.DOTALL | re.MULTILINE)[1]
    )
    assert_answered(done)


def assert_answered(done):
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == 'completed You said: "Where shall we eat?".'
    assert re.fullmatch(r"ses_\w+ completed 0\.\d+|ses_\w+ completed \d\.\d+e-\d+", second)


def test_the_django_example(run, tmp_path):
    (tmp_path / "settings.py").write_text(DJANGO_SETTINGS + example("django-settings"))
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "__init__.py").touch()
    for name in ("models", "views"):
        (tmp_path / "chat" / f"{name}.py").write_text(example(f"django-{name}"))
    assert_answered(run(DJANGO_USE, DJANGO_SETTINGS_MODULE="settings"))


def test_the_fastapi_example(serve, tmp_path):
    (tmp_path / "app.py").write_text(example("fastapi"))
    (tmp_path / "models.py").write_text(files_of("tutorial-fastapi.md")["models.py"])
    create = (
        "from models import Base\nfrom sqlalchemy import create_engine\n"
        'Base.metadata.create_all(create_engine("sqlite:///shop.sqlite3"))'
    )
    subprocess.run([sys.executable, "-c", create], cwd=tmp_path, check=True)
    served, client = serve("app:app", tmp_path), JsonClient()
    with httpx2.Client(base_url=served.url, timeout=100) as http:
        asked = http.post("/ask", params={"prompt": "Where shall we eat?"}).json()
        with http.stream("GET", asked["events"]) as events:
            client.take(events.read())
    assert (client.events[0], client.end) == ("begin", "completed")
    assert client.state["parts"][-1]["markdown"] == 'You said: "Where shall we eat?".'
    assert served.terminate() in (0, -signal.SIGTERM)
    assert served.log.read_text() == ""


def test_every_example_is_run():
    named = set(re.findall(r"^```python (\S+)$", README.read_text(), re.MULTILINE))
    assert named == {"fastapi", "django-settings", "django-models", "django-views"}


def test_every_file_that_it_points_to_is_there():
    for target in re.findall(r"\]\(((?!http)[^)#]+)", README.read_text()):
        assert (README.parent / target).exists(), target


def test_it_fits_one_screen():
    assert len(README.read_text().splitlines()) <= 110
