"""The views serve a row through the model that has its table: what that model's manager hides, no label shows."""

# ruff: noqa: PLC0415 - not before Django is configured

from __future__ import annotations

import json

import pytest
from django.db import connection, models
from django.test import Client, RequestFactory

OWNER = {"X-Who": "owner"}


class NotDeleted(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(is_deleted=False)


@pytest.fixture
def message_model(chat):
    """What a host's models of messages inherit from."""
    from opencode_sessions.django.models import MessageModel

    return MessageModel


@pytest.fixture
def with_message_model(chat, with_model, message_model):
    """Adds a model of messages to the project."""

    def add(name, **more):
        conversation = models.ForeignKey(chat.Conversation, on_delete=models.CASCADE, related_name="+")
        fields = {"conversation": conversation, "is_deleted": models.BooleanField(default=False)}
        return with_model(name, message_model, lease=models.FloatField(default=120.0), **fields, **more)

    return add


@pytest.fixture
def note(with_message_model):
    """A message model with a table of its own, whose default manager hides what is deleted."""
    yield from _in_database(with_message_model("Note", objects=NotDeleted()))


@pytest.fixture
def proxy(note, with_model):
    """Another label for the same rows, with a manager that hides nothing."""
    meta = type("Meta", (), {"proxy": True})
    return with_model("EveryNote", note, Meta=meta, every=models.Manager())


@pytest.fixture
def child(note, with_model):
    """The rows of a table of its own beside the parent's, with a manager that hides nothing."""
    yield from _in_database(with_model("UrgentNote", note, every=models.Manager()))


@pytest.fixture
def unmanaged(note, with_message_model, message_model):
    """A second model of the same table, with a manager that hides nothing."""
    meta = type("Meta", (message_model.Meta,), {"managed": False, "db_table": note._meta.db_table})
    return with_message_model("RawNote", Meta=meta, every=models.Manager())


@pytest.fixture(params=["proxy", "child", "unmanaged"])
def other(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", ["events", "answer", "cancel", "retry"])
@pytest.mark.parametrize("deleted", [True, False])
def test_a_label_of_another_model_of_the_table_names_no_row(pages, note, other, name, deleted):
    row = _row(pages, other, is_deleted=True) if deleted else _row(pages, other)
    path = f"/opencode/turns/{other._meta.label_lower}/{row.pk}/{name}"
    assert _status(name, path) == 404
    assert note._base_manager.get(pk=row.pk).status == "pending"


@pytest.mark.parametrize("name", ["events", "answer", "cancel", "retry"])
def test_a_row_that_the_default_manager_hides_is_not_served(pages, note, name):
    row = _row(pages, note, is_deleted=True)
    assert _status(name, address(name, row)) == 404
    note._base_manager.filter(pk=row.pk).update(is_deleted=False)
    assert _status(name, address(name, row)) != 404


@pytest.mark.parametrize("kind", ["proxy", "child"])
def test_the_address_of_a_proxy_or_a_child_is_that_of_the_tables_model(request, pages, note, kind):
    model = request.getfixturevalue(kind)
    row = _row(pages, model)
    assert address("events", row) == f"/opencode/turns/chat.note/{row.pk}/events"
    assert Client().post(address("cancel", row), headers=OWNER).status_code == 204
    assert note.objects.get(pk=row.pk).status == "cancelled"


def test_a_child_with_a_key_of_its_own_is_named_by_its_parents_key(pages, note, with_model):
    link = models.OneToOneField(note, on_delete=models.CASCADE, parent_link=True)
    key = models.AutoField(primary_key=True)
    for model in _in_database(with_model("OddNote", note, note=link, number=key)):
        _row(pages, note)
        row = _row(pages, model)
        assert row.pk != row.note_id
        assert address("cancel", row) == f"/opencode/turns/chat.note/{row.note_id}/cancel"


def test_a_message_with_a_key_of_two_columns_is_served(pages, with_message_model):
    key = models.CompositePrimaryKey("room", "number")
    columns = {"room": models.TextField(), "number": models.IntegerField()}
    for model in _in_database(with_message_model("Numbered", pk=key, **columns)):
        row = _row(pages, model, room="a/b, c", number=7)
        there = address("cancel", row)
        assert Client().post(there.replace("7", "8"), headers=OWNER).status_code == 404
        assert Client().post("/opencode/turns/chat.numbered/7/cancel", headers=OWNER).status_code == 404
        assert Client().post(there, headers=OWNER).status_code == 204
        assert model.objects.get(pk=row.pk).status == "cancelled"


def test_a_retry_of_a_proxy_is_named_by_the_tables_model(pages, note, proxy, web_settings):
    row = _row(pages, proxy, status="failed")

    def retry(message):
        return proxy(prompt=message.prompt, conversation=message.conversation)

    with pages.configured(web_settings, RETRY=retry, RUNNER="inline"):
        answer = Client().post(address("retry", row), headers={**OWNER, "Accept": "application/json"})
    told = json.loads(answer.content)
    assert (told["label"], answer.status_code) == ("chat.note", 200)
    assert note.objects.get(pk=told["pk"]).status == "completed"


def test_an_unmanaged_model_whose_table_no_other_manages_is_served(pages, note, unmanaged, monkeypatch):
    row = _row(pages, note)
    monkeypatch.setattr(note._meta, "managed", False)
    path = f"/opencode/turns/{unmanaged._meta.label_lower}/{row.pk}/cancel"
    assert _status("cancel", path) == 204
    monkeypatch.undo()


def test_the_admin_shows_no_last_turn_that_the_default_manager_hides(pages, note):
    from django.contrib import admin

    from opencode_sessions.django.admin import SessionAdmin

    row = _row(pages, note, status="failed", error={"name": "APIError", "message": "a secret"})
    staff = SessionAdmin(pages.Conversation, admin.AdminSite())
    request = RequestFactory().get("/")
    assert "secret" in staff.session_error(staff.get_queryset(request).get(pk=row.conversation_id))
    note.objects.filter(pk=row.pk).update(is_deleted=True)
    assert staff.session_error(staff.get_queryset(request).get(pk=row.conversation_id)) == ""


def address(name, message):
    from opencode_sessions.django import addresses

    return addresses.address(name, message)


def _row(pages, model, **fields):
    row = model(prompt="hello", conversation=pages.conversation(), **fields)
    row.save()
    return row


def _status(name, path):
    browser = Client()
    return (browser.get if name == "events" else browser.post)(path, headers=OWNER).status_code


def _in_database(model):
    with connection.schema_editor() as editor:
        editor.create_model(model)
    yield model
    with connection.schema_editor() as editor:
        editor.delete_model(model)
