"""Troubles of a host's that must stay small: rows that vanish, asks that nobody answers, a queue that is down."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections, models
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone
from fix_django_app import wait_until
from fix_stores import create_django_tables

from opencode_sessions.django import enqueue
from opencode_sessions.django.host import host
from opencode_sessions.django.turn_table import table
from opencode_sessions.jobs.attempts import TurnAttempts
from opencode_sessions.jobs.dispatch import dispatch_abandoned
from opencode_sessions.runtime.stepping import run_sync

pytestmark = pytest.mark.usefixtures("nothing_left")

OWNER = {"x-who": "owner", "accept": "application/json"}
ASKING = '!tool bash {"command": "true", "description": "x"}'


@pytest.fixture
def asking(pages, web_settings):
    """Settings under which a command must be allowed; two turns may run at once."""
    rules = {"PERMISSIONS_FOR": "web_project.policy.ask_for_bash", "THREADS": 2}
    with override_settings(OPENCODE={**web_settings, **rules}):
        yield


def meta(**options):
    return type("Meta", (), {"app_label": "chat", **options})


@pytest.mark.usefixtures("asking")
def test_turns_that_wait_for_a_person_keep_nobody_from_running(pages):
    for _ in range(2):
        message = pages.message(ASKING)
        enqueue(message)
        wait_until(lambda message=message: pages.row(message).asks)
    third = pages.message("hello")
    enqueue(third)
    try:
        assert pages.ended(third).status == "completed"
    finally:
        for message in pages.Message.objects.all():
            pages.cancel(message)


def test_a_message_that_is_deleted_while_it_is_answered_frees_its_record(pages):
    conversation = pages.conversation()
    message = pages.message("!slow 1\n!say " + " ".join(map(str, range(100))), conversation)
    enqueue(message)
    wait_until(lambda: pages.row(message).content)
    pages.Message.objects.filter(pk=message.pk).delete()
    following = pages.message("hello", conversation)
    enqueue(following)
    assert pages.ended(following).status == "completed"


def test_one_row_that_cannot_be_run_keeps_no_other_from_being_taken_up(pages, monkeypatch):
    ago = timezone.now() - timedelta(seconds=5)
    pages.message("bad", opencode_turn_lease=ago, lease=-1)
    good = pages.message("good", opencode_turn_lease=ago)
    record = property(lambda self: None if self.lease < 0 else self.conversation)
    monkeypatch.setattr(pages.Message, "opencode_record", record, raising=False)
    assert [job.pk for job in run_sync(table.abandoned(reserve_for=60))] == [str(good.pk)]


def test_a_turn_whose_record_is_gone_ends(pages, with_model):
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - Django is set up by now

    conversation = models.ForeignKey(pages.Conversation, models.SET_NULL, null=True)
    loose = with_model("Loose", MessageModel, Meta=meta(), conversation=conversation)
    create_django_tables(loose)
    try:
        message = loose.objects.create(prompt="?", status="streaming", opencode_turn_lease=timezone.now())
        attempts = TurnAttempts(host, table.job_of(message), when_busy="reject")
        assert [run_sync(attempts.attempt()) for _ in range(2)] == [None, None]
        message.refresh_from_db()
        assert (message.status, message.error["name"]) == ("failed", "RecordGoneError")
    finally:
        for using in ("default", "postgres"):
            with connections[using].schema_editor() as editor:
                editor.delete_model(loose)


def test_a_queue_that_is_down_is_reported_and_the_turn_is_free_for_who_looks(pages, web_settings):
    reported = []

    class Down:
        pending_lease = 3600.0

        def dispatch(self, job):
            raise ConnectionError("the broker is away")

    def report(error, context):
        reported.append((str(error), context.action))

    with override_settings(OPENCODE={**web_settings, "RUNNER": Down, "ON_ERROR": report}):
        message = pages.message("hello")
        enqueue(message)
        assert reported == [("the broker is away", "enqueue")]
        assert pages.row(message).opencode_turn_lease < timezone.now()
        for _ in range(8):  # each look tries to send it: nothing is in the queue
            reported.clear()
            run_sync(dispatch_abandoned(host))
            assert ("the broker is away", "enqueue") in reported


def test_views_are_outside_the_transactions_of_every_database(pages):
    message = pages.message("hello", using="postgres")
    told = connections["postgres"].settings_dict
    was, told["ATOMIC_REQUESTS"] = told["ATOMIC_REQUESTS"], True
    try:
        with override_settings(DATABASE_ROUTERS=["web_project.policy.ToPostgres"]):
            answer = Browser().post(pages.address("cancel", message), headers=OWNER)
    finally:
        told["ATOMIC_REQUESTS"] = was
    assert answer.status_code == 204


def test_a_row_that_is_deleted_in_the_instant_of_a_click_is_not_found(pages, monkeypatch):
    from opencode_sessions.django.views import replies  # noqa: PLC0415 - Django is set up by now

    seen = replies.seen

    def gone(*what):
        message = seen(*what)
        pages.Message.objects.filter(pk=message.pk).delete()
        return message

    monkeypatch.setattr(replies, "seen", gone)
    for action in ("cancel", "retry"):
        message = pages.message("hello")
        assert Browser().post(pages.address(action, message), headers=OWNER).status_code == 404


def test_a_proxy_is_found_at_its_address(pages, with_model):
    from opencode_sessions.django.addresses import address  # noqa: PLC0415 - Django is set up by now

    proxy = with_model("Special", pages.Message, Meta=meta(proxy=True))
    message = proxy.objects.get(pk=pages.message("hello").pk)
    answer = Browser().post(address("cancel", message), headers=OWNER)
    assert answer.status_code == 204
