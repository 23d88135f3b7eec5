"""Runners: the result is the same, whoever runs a turn; and a job finds its message again, whatever its key is."""

from __future__ import annotations

import io
import json
import unittest
import uuid
from dataclasses import astuple
from typing import ClassVar

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, transaction
from django.test import TestCase
from fix_django_app import wait_until
from fix_stores import create_django_tables

from opencode_sessions.django import enqueue, host, run_job
from opencode_sessions.django.turn_table import table
from opencode_sessions.jobs.attempts import TurnAttempts
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.turn_table import TurnJob


class Noting:
    """A dispatcher of a host's own."""

    pending_lease = 5.0
    jobs: ClassVar[list[str]] = []

    def dispatch(self, job):
        self.jobs.append(json.dumps(astuple(job)))


@pytest.mark.parametrize("runner", ["threads", "inline"])
def test_the_result_is_the_same(chat, opencode, runner):
    with chat.configured(opencode, RUNNER=runner):
        message = chat.message("hello", using="postgres")
        enqueue(message)
        row = chat.ended(message)
    assert (row.status, row.content, row.opencode_turn_epoch) == ("completed", 'You said: "hello".', 1)


def test_a_runner_of_the_hosts_own_is_given_what_any_queue_can_carry(chat, opencode):
    with chat.configured(opencode, RUNNER=Noting):
        message = chat.message("hello", using="postgres")
        with transaction.atomic(using="postgres"):
            enqueue(message)
            assert Noting.jobs == []
        (noted,) = Noting.jobs
        assert chat.row(message).status == "pending"
        result = run_job(TurnJob(*json.loads(noted)))
    assert result.content == 'You said: "hello".'
    assert run_job(TurnJob(*json.loads(noted))).content == result.content
    assert chat.row(message).opencode_turn_epoch == 1


def test_a_class_that_makes_no_runner_is_told(chat, opencode):
    with (
        chat.configured(opencode, RUNNER=dict),
        pytest.raises(ImproperlyConfigured, match=r'OPENCODE\["RUNNER"\] makes {}'),
    ):
        enqueue(chat.message("hello"))


def test_inline_runs_within_a_test_case_of_djangos_and_leaves_nothing(chat, opencode, monkeypatch):
    monkeypatch.setattr(mail, "outbox", [], raising=False)  # a TestCase leaves one, as of a run of its own
    made = []

    class Hosts(TestCase):
        def test(self):
            with self.captureOnCommitCallbacks(execute=True):
                message = chat.message("in a TestCase")
                enqueue(message)
                made.append(message.pk)
            assert chat.row(message).content == 'You said: "in a TestCase".'

    with chat.configured(opencode, RUNNER="inline"):
        result = unittest.TextTestRunner(stream=io.StringIO()).run(Hosts("test"))
    assert (result.errors, result.failures, len(made)) == ([], [], 1)
    assert not chat.Message.objects.filter(prompt="in a TestCase").exists()


def test_a_message_with_a_key_of_another_kind_is_found_again(chat, opencode, with_model):
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - once Django is configured

    def conversation():
        return models.ForeignKey(chat.Conversation, on_delete=models.CASCADE, related_name="+")

    ticket = with_model(
        "Ticket",
        MessageModel,
        id=models.UUIDField(primary_key=True, default=uuid.uuid4),
        conversation=conversation(),
    )
    line = with_model(
        "Line",
        MessageModel,
        pk=models.CompositePrimaryKey("conversation_id", "number"),
        conversation=conversation(),
        number=models.IntegerField(),
    )
    create_django_tables(ticket, line, aliases=["default"])
    try:
        with chat.configured(opencode, RUNNER="inline", TURN_OPTIONS=lambda _: {}):
            for made in (
                ticket.objects.create(prompt="hello", conversation=chat.conversation()),
                line.objects.create(prompt="hello", conversation=chat.conversation(), number=2),
            ):
                enqueue(made)
                made.refresh_from_db()
                assert made.content == 'You said: "hello".'
    finally:
        with connections["default"].schema_editor() as editor:
            for model in (ticket, line):
                editor.delete_model(model)


def test_a_database_that_cannot_be_asked_is_asked_again_a_little_later(chat, bare_database):
    attempts = TurnAttempts(host.host, TurnJob("chat.Message", "1", bare_database, "any"), when_busy="reject")
    pauses = [run_sync(attempts.attempt()) for _ in range(20)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.5, 30.0)


def test_a_message_that_is_gone_has_no_turn(chat):
    message = chat.message("hello")
    job = table.job_of(message)
    message.delete()
    assert run_job(job) is None


def test_a_change_of_settings_stops_the_old_runner(chat, opencode):
    enqueue(message := chat.message("hello"))
    chat.ended(message)
    before = host.dispatcher()
    wait_until(lambda: before.idle)
    with chat.configured(opencode, THREADS=3):
        assert host.dispatcher() is not before
        before.dispatch(table.job_of(message))
        assert before.idle


def test_a_job_that_names_nothing_here_is_reported_and_left(chat, opencode):
    told = []
    with chat.configured(
        opencode, ON_ERROR=lambda error, context: told.append((type(error), context.action))
    ):
        assert run_job(TurnJob("chat.OfANewerRelease", "1", "default", "any")) is None
    assert told == [(LookupError, "run")]
