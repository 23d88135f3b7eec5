"""What docs/operating.md shows in Python is run as it stands there, against the real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "operating.md"

SQLALCHEMY = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, Session as Database
from opencode_sessions import Session
from opencode_sessions.sqlalchemy import RecordMixin

class Base(DeclarativeBase): ...

class Conversation(RecordMixin, Base):
    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)

engine = create_engine("sqlite:///host.sqlite3")
Base.metadata.create_all(engine)
"""
SQLALCHEMY_USE = """
with Client() as client, Database(engine) as db:
    conversation = Conversation()
    db.add(conversation)
    db.commit()
    session_id = Session(conversation).ensure(client)
    db.delete(conversation)
    db.commit()
    print(session_id in [info.id for info in client.list(all_directories=True)])
"""
DJANGO_SETTINGS = """
INSTALLED_APPS = ["chat.apps.ChatConfig"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
DJANGO_MODELS = """
from opencode_sessions.django.models import RecordModel

class Conversation(RecordModel): ...
"""
DJANGO_USE = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
from chat.models import Conversation
from opencode_sessions import Client, Session
with Client() as client:
    conversation = Conversation.objects.create()
    session_id = Session(conversation).ensure(client)
    conversation.delete()
    print(session_id in [info.id for info in client.list(all_directories=True)])
"""


def example(name):
    (found,) = re.findall(rf"^```python {name}\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    return found


@pytest.fixture
def run(server, tmp_path):
    def run(code, **environment):
        reach = {"OPENCODE_BASE_URL": server.url, "OPENCODE_SERVER_PASSWORD": server.password}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env=os.environ | reach | environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_the_examples_for_sqlalchemy(run):
    gone, pruned = run(SQLALCHEMY + example("deletion-sqlalchemy") + SQLALCHEMY_USE + example("prune"))
    assert gone == "False"
    assert re.fullmatch(r"\d+ \d+", pruned)


def test_the_example_for_django(run, tmp_path):
    (tmp_path / "settings.py").write_text(DJANGO_SETTINGS)
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "__init__.py").touch()
    (tmp_path / "chat" / "models.py").write_text(DJANGO_MODELS)
    (tmp_path / "chat" / "apps.py").write_text(example("deletion-django"))
    assert run(DJANGO_USE, DJANGO_SETTINGS_MODULE="settings") == ["False"]


def test_every_named_example_is_run():
    named = re.findall(r"^```python (\S+)$", DOCS.read_text(), re.MULTILINE)
    assert sorted(named) == ["deletion-django", "deletion-sqlalchemy", "prune"]
