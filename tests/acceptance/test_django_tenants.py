"""A project with django-tenants, as processes of its own: each tenant's turns run in its schema, and nowhere else."""

from __future__ import annotations

import json

import pytest
from fix_django_project import Project

SETUP = """
import json, threading, time
import django; django.setup()
from django.db import connection
from django_tenants.utils import schema_context
from chat_project.chat.models import Conversation, Message
from opencode_sessions.django import enqueue, host, session_for, turn_for
from tenant_project.tenants import TENANTS, rows

def wait_until(look, seconds=60):
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.05)
"""

EACH_ITS_OWN = {tenant: ["completed", f'You said: "I am {tenant}".'] for tenant in ("acme", "globex")}


class Tenants(Project):
    def __init__(self, folder, server, databases):
        super().__init__(folder, server, databases)
        self.environ["DJANGO_SETTINGS_MODULE"] = "tenant_project.settings"
        self.python("import django; django.setup(); from tenant_project import tenants; tenants.create()")

    def says(self, code, **opencode):
        """What a process with these settings prints last, as JSON."""
        before = self.environ["CHAT_OPENCODE"]
        self.environ["CHAT_OPENCODE"] = json.dumps({**json.loads(before), **opencode})
        try:
            return json.loads(self.python(SETUP + code).splitlines()[-1])
        finally:
            self.environ["CHAT_OPENCODE"] = before


@pytest.fixture
def tenants(server, postgres, tmp_path):
    database = {
        "NAME": postgres.create_database(),
        "HOST": "127.0.0.1",
        "PORT": postgres.port,
        "USER": "postgres",
    }
    project = Tenants(tmp_path, server, {"default": database})
    yield project
    project.end()


ENQUEUE = """
for tenant in TENANTS:
    with schema_context(tenant):
        enqueue(Message.objects.get(pk=1))
"""


@pytest.mark.full
def test_turns_of_equal_keys_are_run_in_the_schemas_that_enqueued_them(tenants):
    code = """
wait_until(lambda: all(status == "completed" for status, _ in rows().values()))
print(json.dumps(rows()))
"""
    assert tenants.says(ENQUEUE + code) == EACH_ITS_OWN


def test_recovery_finds_and_runs_what_is_left_in_every_schema(tenants):
    left = """
from django.utils import timezone
for tenant in TENANTS:
    with schema_context(tenant):
        Message.objects.update(opencode_turn_lease=timezone.now())
print("null")
"""
    assert tenants.says(left) is None
    said = tenants.run("opencode_recover")
    assert sorted(said.splitlines()) == [
        "chat.Message 1 of tenant acme: completed",
        "chat.Message 1 of tenant globex: completed",
    ]
    assert tenants.says("print(json.dumps(rows()))") == EACH_ITS_OWN
    doctor = tenants.run("opencode_doctor")
    for tenant in EACH_ITS_OWN:
        assert f"in default, tenant {tenant}: 1 turns" in doctor


@pytest.mark.full
def test_a_session_that_a_row_of_any_schema_names_is_not_pruned(tenants):
    code = """
from opencode_sessions.django import client
for tenant in TENANTS:
    with schema_context(tenant):
        session_for(Conversation.objects.get(pk=1)).ensure(client())
with schema_context("globex"):
    named = Conversation.objects.get(pk=1).opencode_session_id
    Conversation.objects.update(opencode_session_id=None)
print(json.dumps(named))
"""
    namespace = f"prune-{tenants.environ['CHAT_DATABASE']}"
    left = tenants.says(code, NAMESPACE=namespace)
    tenants.environ["CHAT_OPENCODE"] = json.dumps(
        {**json.loads(tenants.environ["CHAT_OPENCODE"]), "NAMESPACE": namespace}
    )
    found = json.loads(tenants.run("opencode_prune", "--json", "--older-than", "0s"))
    assert [each["session_id"] for each in found["leftovers"]] == [left]
    assert found["scanned"] >= 2


@pytest.mark.full
def test_a_stream_of_a_tenants_turn_shows_that_tenants_row(tenants):
    code = """
from django.test import Client
from opencode_sessions.django.addresses import address

def said(text):
    return [{"type": "text", "id": "prt_1", "text": text}]

with schema_context("globex"):
    Message.objects.update(status="completed", parts=said("Globex's secret"))

def answered():
    time.sleep(0.5)
    with schema_context("acme"):
        Message.objects.update(status="completed", parts=said("Acme's answer"), revision=1)
    connection.close()

threading.Thread(target=answered).start()
response = Client(HTTP_HOST="acme.localhost").get(address("events", Message(pk=1)))
connection.set_schema("globex")  # the server's thread goes on to another request
print(json.dumps(b"".join(response.streaming_content).decode()))
"""
    shown = tenants.says(code)
    assert "Acme" in shown
    assert "secret" not in shown


def test_a_worker_that_reads_another_schema_runs_nothing(tenants):
    code = """
heard = []
def hear(error, context):
    heard.append(f"{type(error).__name__} {context.record}")
from django.test import override_settings
from django.conf import settings
from opencode_sessions.django.turn_table import table
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.django import run_job
with schema_context("globex"):
    job = table.job_of(Message.objects.get(pk=1))
wrong = {**settings.OPENCODE, "TENANT_CONTEXT": "tenant_project.tenants.always_acme", "ON_ERROR": hear}
with override_settings(OPENCODE=wrong):
    assert run_job(job) is None
print(json.dumps([heard, rows()]))
"""
    heard, rows = tenants.says(code)
    assert heard == ["WrongRowError chat.Message 1 of tenant globex"]
    assert {status for status, _ in rows.values()} == {"pending"}


@pytest.mark.full
def test_a_turn_is_run_in_its_schema_from_whatever_thread_and_with_asyncio(tenants):
    code = """
import asyncio
from asgiref.sync import sync_to_async
from opencode_sessions.django import aturn_for
with schema_context("acme"):
    turn = turn_for(Message.objects.select_related("conversation").get(pk=1))
thread = threading.Thread(target=lambda: (turn.run(), connection.close()))  # whose connection is of no tenant
thread.start()
thread.join()

async def run():
    def made():
        connection.set_schema("globex")
        return Message.objects.select_related("conversation").get(pk=1)
    message = await sync_to_async(made)()
    turn = await aturn_for(message)
    await turn.run()
    await sync_to_async(lambda: connection.close())()

asyncio.run(run())
print(json.dumps(rows()))
"""
    assert tenants.says(code) == EACH_ITS_OWN


@pytest.mark.full
def test_without_the_settings_nothing_is_enqueued_and_the_check_says_so(tenants):
    none = dict.fromkeys(("CURRENT_TENANT", "TENANT_CONTEXT", "ALL_TENANTS"))
    code = """
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.conf import settings
said = []
with schema_context("acme"):
    message = Message.objects.get(pk=1)
    for call in (enqueue, turn_for, lambda message: session_for(message.conversation)):
        try:
            call(message)
        except ImproperlyConfigured as error:
            said.append("CURRENT_TENANT" in str(error))
    found = [each.id for each in checks.run_checks(tags=["opencode"], databases=["default"]) if each.is_serious()]
half = {**settings.OPENCODE, "CURRENT_TENANT": "tenant_project.tenants.current"}
with override_settings(OPENCODE=half):
    found += [each.msg for each in checks.run_checks(tags=["opencode"]) if each.id == "opencode.E001"]
print(json.dumps([said, found]))
"""
    said, found = tenants.says(code, **none)
    assert said == [True] * 3
    assert found[0] == "opencode.E007"
    assert found[1].endswith("missing: TENANT_CONTEXT, ALL_TENANTS")
