"""Two Django projects that share a server: neither deletes a session that the other one's rows name."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from fix_django_project import Project

from opencode_sessions import Client

ENSURE = """
import django; django.setup()
from chat_project.chat.models import Conversation
from opencode_sessions.django import client, session_for
conversation, _ = Conversation.objects.get_or_create(pk=1)
print(session_for(conversation).ensure(client()))
"""
LOSE = """
import django; django.setup()
from chat_project.chat.models import Conversation
from opencode_sessions.django import client, session_for
conversation = Conversation.objects.create()
print(session_for(conversation).ensure(client()))
conversation.delete()
"""
EVERY = ("opencode_prune", "--older-than", "0s")


@pytest.fixture
def projects(server, tmp_path):
    """Two that say no namespace, each with a database of its own in which the tables have the same names."""
    made = []
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        made.append(Project(tmp_path / name, server, {}))
        made[-1].run("migrate", "--run-syncdb", "--verbosity", "0")
    return made


@pytest.fixture
def exists(server):
    """Has the server this session?"""
    with Client(server.url, password=server.password) as client:
        yield lambda session_id: session_id in [each.id for each in client.list(all_directories=True)]


def give(project, namespace):
    said = json.loads(project.environ["CHAT_OPENCODE"])
    project.environ["CHAT_OPENCODE"] = json.dumps({**said, "NAMESPACE": namespace})


def fails(project, *command):
    """What `manage.py` complains of."""
    line = [sys.executable, "-m", "django", *command]
    done = subprocess.run(line, env=project.environ, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr


def deleted(said):
    """The sessions that a command tells to have deleted."""
    told = json.loads(said)
    return {each["session_id"] for each in told["leftovers"] if each["deleted"]}


@pytest.mark.full
def test_a_project_that_gives_no_namespace_deletes_nothing(projects, exists):
    ours, theirs = projects
    session = theirs.python(ENSURE).strip()
    listed = ours.run(*EVERY)
    assert session in listed
    assert "some may be another project's" in listed
    complaint = fails(ours, *EVERY, "--delete")
    assert 'OPENCODE["NAMESPACE"]' in complaint
    assert "looked at" not in complaint
    assert exists(session)
    assert re.search(r"No namespace is set.*opencode\.W005", ours.run("opencode_doctor"))


@pytest.mark.full
def test_with_namespaces_each_deletes_its_own_and_no_row_loses_its_session(projects, exists):
    ours, theirs = projects
    sessions = {project: project.python(ENSURE).strip() for project in projects}
    old = ours.python(LOSE).strip()
    give(ours, "ours")
    assert ours.python(ENSURE).strip() == sessions[ours], "it was made before the namespace was given"
    lost = ours.python(LOSE).strip()
    assert deleted(ours.run(*EVERY, "--delete", "--json")) == {lost}
    assert all(map(exists, (*sessions.values(), old)))
    # Of no other project there are sessions in the default namespace now, if theirs gets one too.
    theirs.shell("Conversation.objects.all().delete()[0]")
    give(theirs, "theirs")
    new = theirs.python(ENSURE).strip()
    give(ours, "opencode-sessions")
    gone = deleted(ours.run(*EVERY, "--delete", "--json"))
    assert {old, sessions[theirs]} <= gone
    assert not gone & {sessions[ours], new}
    assert exists(sessions[ours])
    assert exists(new)
