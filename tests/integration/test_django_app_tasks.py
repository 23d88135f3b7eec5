"""Turns through `django.tasks`: the clear refusal where there is none, and real backends where there is."""

from __future__ import annotations

import importlib.util
import json

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from fix_django_app import wait_until

from opencode_sessions.django import enqueue, host
from opencode_sessions.django.checks import check_deployment, check_settings

HAS_TASKS = django.VERSION >= (6, 0)
with_tasks = pytest.mark.skipif(not HAS_TASKS, reason="django.tasks came with Django 6.0")
with_worker = pytest.mark.skipif(
    not HAS_TASKS or importlib.util.find_spec("django_tasks_db") is None, reason="needs django-tasks-db"
)


def backend(name):
    return override_settings(TASKS={"default": {"BACKEND": f"django.tasks.backends.{name}"}})


def ids(found):
    return [message.id for message in found]


@pytest.mark.skipif(HAS_TASKS, reason="this Django has them")
def test_without_django_tasks_the_error_says_what_to_do(chat, opencode):
    with chat.configured(opencode, RUNNER="tasks"):
        with pytest.raises(ImproperlyConfigured, match=r'OPENCODE\["RUNNER"\] is "tasks".*use Django 6\.0'):
            host.dispatcher()
        assert ids(check_settings()) == ["opencode.E005"]
        assert "opencode.W022" not in ids(check_deployment())


@with_tasks
def test_a_turn_that_is_run_as_a_task_has_the_same_result(chat, opencode):
    with chat.configured(opencode, RUNNER="tasks"), backend("immediate.ImmediateBackend"):
        message = chat.message("hello", using="postgres")
        enqueue(message)
        row = chat.row(message)
        assert (row.status, row.content) == ("completed", 'You said: "hello".')
        assert ids(check_settings()) == []
        assert "opencode.W022" in ids(check_deployment())


@with_tasks
def test_a_task_that_comes_twice_is_answered_once(chat, opencode):
    from opencode_sessions.django.turn_task import run_turn  # noqa: PLC0415 - there is none in Django 5.2

    with chat.configured(opencode, RUNNER="tasks"), backend("immediate.ImmediateBackend"):
        message = chat.message("hello")
        enqueue(message)
        result = run_turn.enqueue("chat.Message", str(message.pk), "default", "any")
        assert result.status == "SUCCESSFUL"
        assert chat.row(message).opencode_turn_epoch == 1


@with_tasks
@pytest.mark.parametrize("name", ["dummy.DummyBackend", "nothing.Nothing"])
def test_a_backend_that_runs_nothing_is_found_by_the_checks(chat, opencode, name):
    with chat.configured(opencode, RUNNER="tasks"), backend(name):
        assert ids(check_settings()) == ["opencode.E005"]


@with_worker
@pytest.mark.parametrize("chat_project", ["sqlite", "postgres"], indirect=True)
def test_a_worker_of_a_real_queue_runs_what_a_site_enqueued(chat_project):
    opencode = json.loads(chat_project.environ["CHAT_OPENCODE"])
    chat_project.environ["CHAT_OPENCODE"] = json.dumps({**opencode, "RUNNER": "tasks"})
    chat_project.environ["CHAT_APPS"] = "django_tasks_db"
    chat_project.environ["CHAT_TASKS"] = "django_tasks_db.DatabaseBackend"
    chat_project.run("migrate", "--run-syncdb", "--verbosity", "0")
    site = chat_project.serve()
    message = site.send("hello")
    assert site.row(message)["status"] == "pending"
    worker = chat_project.start("db_worker", "--interval", "0.2")
    row = wait_until(lambda: row if (row := site.row(message))["status"] == "completed" else None)
    assert row["content"] == 'You said: "hello".'
    assert worker.poll() is None
