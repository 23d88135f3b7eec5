"""A worker is killed over the files of a turn, wherever: each file is attached once, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dying_over_files import POINTS, host_of
from host_models import Conversation
from host_rows import Rows, urls_of
from selection import sample
from sqlalchemy import text

from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.runtime.stepping import iterate_sync, run_sync

FIXTURES = Path(__file__).parents[1] / "fixtures"
FILES = {"one.txt": b"one\n", "sub/two.txt": b"two\n", "three.txt": b"three\n"}
COMMAND = (
    "cd FOLDER && mkdir -p sub && echo one > one.txt && echo two > sub/two.txt && echo three > three.txt"
)


def prompt_for(folder):
    return "!tool bash " + json.dumps({"command": COMMAND.replace("FOLDER", folder), "description": "writes"})


@pytest.mark.parametrize("point", sample(POINTS, "after one file"))
def test_with_sqlalchemy(server, request, tmp_path, point):
    url = urls_of(request, tmp_path, "sqlite")[0]
    with Rows(server, url) as rows:
        record = rows.conversation()
        with rows.sessions() as db:
            name = Sandbox(tmp_path / "sandbox").name(db.get_one(Conversation, record))
        message = rows.add(prompt_for(f"{tmp_path}/sandbox/folders/{name}"), record)
        options = {"url": url, "folder": str(tmp_path), "server": server.url, "password": server.password}
        given = json.dumps({**options, "message": message.id, "point": point})
        killed = subprocess.run(
            [sys.executable, FIXTURES / "dying_over_files.py", given],
            env=os.environ | {"PYTHONPATH": str(FIXTURES)},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        before = rows.row(message)
        assert (before.status == "completed") is (point != "before the prompt"), before.status
        told = []
        host, store, engine = host_of(**options, on_error=lambda *args: told.append(args))
        with engine.begin() as connection:  # what was to be done in a minute or two is to be done now
            connection.execute(text("UPDATE opencode_files_due SET look_at = 0"))
            connection.execute(
                text("UPDATE prompts SET opencode_turn_lease = '2000-01-01' WHERE status != 'completed'")
            )
        key = f"prompts:{message.id}"
        with host:
            rows.until(message, lambda row: row.status == "completed" and not run_sync(store.find_due(key)))
        found = run_sync(store.list(key))
        contents = {each.path: b"".join(iterate_sync(store.open(each.id))) for each in found}
        assert (contents, {each.kind for each in found}) == (FILES, {"created"})
        left = run_sync(store.left_over(older_than=-60))
        assert len(left) == (point == "after one file") + 3 * (point == "before the rows")
        assert (told, rows.told) == ([], [])
        engine.dispose()


SETUP = """
from chat_project.chat.files import ARTIFACTS
from chat_project.chat.models import Conversation, Message
from opencode_sessions.django import enqueue
"""
DIES = """
from dying_over_files import die_at
conversation = Conversation.objects.create()
folder = f"{ARTIFACTS.sandbox.server_folders}/{ARTIFACTS.sandbox.name(conversation)}"
message = Message.objects.create(conversation=conversation, prompt=PROMPT.replace("FOLDER", folder), lease=0.5)
die_at(POINT)
enqueue(message)
"""
RECOVERS = """
import json
from django.core.management import call_command
from django.utils import timezone
from opencode_sessions.django.artifacts.models import FilesDue
from opencode_sessions.runtime.stepping import iterate_sync, run_sync
FilesDue.objects.update(look_at=0)  # what was to be done in a minute or two is to be done now
Message.objects.exclude(status="completed").update(opencode_turn_lease=timezone.now())
call_command("opencode_recover")
store = ARTIFACTS.store
found = run_sync(store.list("chat_message:1"))
print(json.dumps([[each.path, each.kind, b"".join(iterate_sync(store.open(each.id))).decode()] for each in found]))
"""


@pytest.mark.full
@pytest.mark.parametrize("chat_project", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", ["after the answer", "after one file"])
def test_with_django(chat_project, tmp_path, point):
    folder = tmp_path / "files"
    chat_project.environ |= {"CHAT_FILES": str(folder), "CHAT_APPS": "opencode_sessions.django.artifacts"}
    chat_project.configure(
        ARTIFACTS="chat_project.chat.files.ARTIFACTS", DIRECTORY=f"{folder}/sandbox/folders", RUNNER="inline"
    )
    chat_project.run("migrate", "--run-syncdb", "--verbosity", "0")
    given = f"PROMPT, POINT = {prompt_for('FOLDER')!r}, {point!r}\n"
    dying = chat_project.start("shell", "--no-imports", "-c", SETUP + given + DIES)
    assert dying.wait(120) == -signal.SIGKILL, dying.log.read_text()
    printed = chat_project.run("shell", "--no-imports", "-c", SETUP + RECOVERS)
    listed = json.loads(printed.splitlines()[-1])
    assert listed == [[path, "created", FILES[path].decode()] for path in sorted(FILES)]
