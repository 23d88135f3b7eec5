"""Views: sync and async, under WSGI and ASGI, in `ATOMIC_REQUESTS`, with several databases."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test import AsyncClient, Client

from opencode_sessions.django import enqueue, turn_for
from opencode_sessions.errors import OpenTransactionError


@pytest.fixture
def browser(chat):
    return Client()


@contextmanager
def atomic_requests(*aliases):
    for alias in aliases:
        connections[alias].settings_dict["ATOMIC_REQUESTS"] = True
    try:
        yield
    finally:
        for alias in aliases:
            connections[alias].settings_dict["ATOMIC_REQUESTS"] = False


def answered(chat, response):
    return chat.ended(chat.Message.objects.get(pk=response.json()["message"]))


@pytest.mark.parametrize("view", ["send", "asend"])
def test_under_wsgi_a_view_enqueues(chat, browser, view):
    response = browser.get(f"/{view}/{chat.conversation().pk}", {"prompt": "hello"})
    assert answered(chat, response).content == 'You said: "hello".'


@pytest.mark.parametrize("view", ["send", "asend"])
def test_under_asgi_a_view_enqueues(chat, view):
    conversation = chat.conversation()

    async def request():
        return await AsyncClient().get(f"/{view}/{conversation.pk}", {"prompt": "hello"})

    assert answered(chat, async_to_sync(request)()).content == 'You said: "hello".'


def test_under_wsgi_an_async_view_runs_a_turn_within_the_request(chat, browser):
    response = browser.get(f"/ask/{chat.conversation().pk}", {"prompt": "hello"})
    assert (response.json()["status"], response.json()["content"]) == ("completed", 'You said: "hello".')


def test_under_asgi_an_async_view_runs_a_turn_within_the_request(chat):
    conversation = chat.conversation()

    async def request():
        return await AsyncClient().get(f"/ask/{conversation.pk}", {"prompt": "hello"})

    assert async_to_sync(request)().json()["status"] == "completed"


def test_in_atomic_requests_a_view_enqueues_and_the_turn_is_run_after_the_commit(chat, browser):
    with atomic_requests("default", "postgres"):
        response = browser.get(f"/send/{chat.conversation().pk}", {"prompt": "hello"})
        assert answered(chat, response).content == 'You said: "hello".'


def test_in_atomic_requests_what_waits_for_the_network_is_refused_and_told_what_to_do(chat, browser):
    with (
        atomic_requests("default"),
        pytest.raises(OpenTransactionError, match=r"transaction\.non_atomic_requests"),
    ):
        browser.get(f"/ensure/{chat.conversation().pk}")


def test_and_a_view_that_does_it_works(chat, browser):
    with atomic_requests("default"):
        response = browser.get(f"/ensure-apart/{chat.conversation().pk}")
        assert response.json()["session"].startswith("ses")


class Routing:
    """Conversations and their messages are in PostgreSQL."""

    def db_for_read(self, model, **hints):
        return "postgres" if model._meta.app_label == "chat" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return db == "postgres" if app_label == "chat" else None


def test_with_a_router_everything_is_where_it_sends_it(chat):
    with routed():
        conversation = chat.Conversation.objects.create(title="Rome")
        message = chat.Message.objects.create(prompt="hello", conversation=conversation)
        assert message._state.db == "postgres"
        enqueue(message)
        row = chat.ended(message)
        conversation.refresh_from_db()
        assert row.opencode_prompt_session_id == conversation.opencode_session_id
    elsewhere = chat.Message.objects.using("default").filter(opencode_prompt_id=row.opencode_prompt_id)
    assert not elsewhere.exists()


@contextmanager
def routed():
    """The router, by itself: this module has no dotted path."""
    from django.db import router  # noqa: PLC0415 - once Django is configured

    before = router.routers
    router.routers = [Routing()]
    try:
        yield
    finally:
        router.routers = before


def test_rows_with_one_key_in_two_databases_are_two(chat):
    messages = []
    for using in ("default", "postgres"):
        conversation = chat.Conversation.objects.using(using).create(pk=4_000, title=using)
        messages.append(chat.message(f"in {using}", conversation, using, pk=4_000))
    for message in messages:
        enqueue(message)
    rows = [chat.ended(message) for message in messages]
    assert [row.content for row in rows] == ['You said: "in default".', 'You said: "in postgres".']
    assert len({row.opencode_prompt_session_id for row in rows}) == 2
    assert turn_for(rows[1])._core._spec.store._row.using == "postgres"
