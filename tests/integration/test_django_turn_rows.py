"""The rows of a Django project, as those who watch turns see them."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from opencode_sessions.errors import RecordNotSavedError
from opencode_sessions.runtime.stepping import run_sync


@pytest.fixture
def rows(pages):
    from opencode_sessions.django.turn_rows import DjangoTurnRows  # noqa: PLC0415 - not before Django is configured

    return DjangoTurnRows()


@pytest.fixture
def with_messages(chat, with_model):
    """Call it for a new model of messages, with a table."""
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - not before Django is configured

    made = []

    def add(name, **columns):
        link = models.ForeignKey(chat.Conversation, on_delete=models.CASCADE, related_name="+")
        made.append(with_model(name, MessageModel, conversation=link, **columns))
        with connection.schema_editor() as editor:
            editor.create_model(made[-1])
        return made[-1]

    yield add
    for model in made:
        with connection.schema_editor() as editor:
            editor.delete_model(model)


@pytest.fixture
def ticket(with_messages):
    """A model whose key is a UUID."""
    return with_messages("Stub", id=models.UUIDField(primary_key=True, default=uuid.uuid4))


@pytest.fixture
def numbered(with_messages):
    """A model whose key is of two columns."""
    key = models.CompositePrimaryKey("room", "number")
    return with_messages("Numbered", pk=key, room=models.TextField(), number=models.IntegerField())


def test_a_key_is_text_and_leads_to_its_row_whatever_the_primary_key_is(pages, rows, ticket, numbered):
    where = {"prompt": "hello", "conversation": pages.conversation()}
    messages = [
        pages.message("hello"),
        ticket.objects.create(**where),
        numbered.objects.create(room="a/b, c", number=7, **where),
    ]
    keys = [rows.key_of(message) for message in messages]
    assert [type(key.pk) for key in keys] == [str] * 3
    for message in messages:
        type(message).objects.filter(pk=message.pk).update(status="streaming", revision=2)
    assert run_sync(rows.heads(keys)) == dict.fromkeys(keys, ("streaming", 2))
    assert {run_sync(rows.row(key)).revision for key in keys} == {2}
    assert keys[1] == rows.key(ticket, uuid.UUID(keys[1].pk), "default", "")


def test_a_row_that_was_deleted_is_missing(pages, rows):
    gone, there = pages.message("hello"), pages.message("hello")
    keys = [rows.key_of(gone), rows.key_of(there)]
    gone.delete()
    assert [*run_sync(rows.heads(keys))] == keys[1:]
    assert run_sync(rows.row(keys[0])) is None
    assert run_sync(rows.heads([])) == {}


def test_all_of_a_table_are_one_query(pages, rows):
    keys = [rows.key_of(pages.message("hello")) for _ in range(20)]
    with CaptureQueriesContext(connection) as queries:
        assert len(run_sync(rows.heads(keys))) == 20
    assert len(queries) == 1


def test_a_proxy_has_the_key_of_its_table(pages, rows, with_model):
    meta = type("Meta", (), {"proxy": True, "app_label": "chat"})
    proxy = with_model("Whisper", pages.Message, Meta=meta)
    message = pages.message("hello")
    assert rows.key_of(proxy.objects.get(pk=message.pk)) == rows.key_of(message)


def test_what_has_no_row_has_no_key(pages, rows):
    with pytest.raises(RecordNotSavedError):
        rows.key_of(pages.Message(prompt="hello"))
