"""Django deletes rows, and the sessions that they named go with them: after the commit, on the real server."""

from __future__ import annotations

import functools
from contextlib import suppress
from types import SimpleNamespace

import host_models
import pytest
from django.apps import AppConfig, apps
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from fix_stores import create_django_tables
from host_models import django_models

from opencode_sessions import django, errors, new_session_id


@pytest.fixture(params=["default", "postgres"])
def alias(request, django_databases):
    yield request.param
    connections.close_all()


@pytest.fixture
def rows(alias, bound):
    bound(django, django_models().Conversation)
    return django_models().Conversation.objects.using(alias)


@pytest.fixture
def more(django_databases):
    yield more_django_models()
    connections.close_all()


@pytest.fixture
def installed(django_databases, monkeypatch):
    """Django cascades only between models of apps that are installed, which those of a test are not."""
    host = AppConfig("host", host_models)
    host.apps, host.models = apps, apps.all_models["host"]
    with monkeypatch.context() as patched:
        patched.setitem(apps.app_configs, "host", host)
        apps.clear_cache()
        yield
    apps.clear_cache()


def test_a_deleted_row_takes_its_session_with_it(rows, upstream):
    kept, gone = (rows.create(opencode_session_id=upstream.make()) for _ in range(2))
    gone.delete()
    assert not upstream.there(gone.opencode_session_id)
    assert upstream.there(kept.opencode_session_id)


def test_what_counts_is_the_row_not_the_copy_of_it(rows, upstream):
    conversation = rows.create()
    session_id = upstream.make()
    rows.filter(pk=conversation.pk).update(opencode_session_id=session_id)
    conversation.delete()
    assert not upstream.there(session_id)


def test_it_waits_for_the_outermost_commit(rows, alias, upstream):
    conversation = rows.create(opencode_session_id=upstream.make())
    with transaction.atomic(using=alias):
        conversation.delete()
        assert upstream.there(conversation.opencode_session_id)
    assert not upstream.there(conversation.opencode_session_id)


def test_a_rollback_leaves_the_session_alone(rows, alias, upstream):
    conversation = rows.create(opencode_session_id=upstream.make())
    with suppress(ZeroDivisionError), transaction.atomic(using=alias):
        conversation.delete()
        raise ZeroDivisionError
    assert rows.filter(opencode_session_id=conversation.opencode_session_id).exists()
    assert upstream.there(conversation.opencode_session_id)


def test_a_queryset_that_is_deleted_and_a_cascade_are_meant_too(rows, alias, installed, upstream):
    owner = django_models().Owner.objects.using(alias).create(name="Ada")
    bulk = [rows.create(opencode_session_id=upstream.make(), title="bulk") for _ in range(2)]
    owned = rows.create(opencode_session_id=upstream.make(), owner=owner)
    rows.filter(title="bulk").delete()
    owner.delete()
    assert not any(upstream.there(row.opencode_session_id) for row in [*bulk, owned])


def test_the_row_is_read_with_a_lock_where_the_database_has_one(rows, alias, upstream):
    conversation = rows.create(opencode_session_id=upstream.make())
    with CaptureQueriesContext(connections[alias]) as captured:
        conversation.delete()
    (read,) = [query["sql"] for query in captured if query["sql"].startswith('SELECT "host_conversation"')]
    assert read.endswith("FOR UPDATE") == (alias == "postgres")


def test_a_row_without_a_session_asks_nothing(rows, carried):
    rows.create().delete()
    assert carried == []


def test_what_goes_wrong_is_reported_and_the_row_is_gone(alias, bound, nobody, reported):
    bound(django, django_models().Conversation, nobody)
    rows = django_models().Conversation.objects.using(alias)
    conversation = rows.create(opencode_session_id=new_session_id())
    key = f"host_conversation:{conversation.pk}"
    conversation.delete()
    ((error, context),) = reported
    assert isinstance(error, errors.ServerUnreachableError)
    assert (context.action, context.record) == ("delete_with_row", key)
    assert context.session_id == conversation.opencode_session_id
    assert not rows.filter(opencode_session_id=conversation.opencode_session_id).exists()


def test_it_can_be_ended(alias, bound, carried):
    bound(django, django_models().Conversation)()
    django_models().Conversation.objects.using(alias).create(opencode_session_id=new_session_id()).delete()
    assert carried == []


def test_in_multi_table_inheritance_parent_and_child_are_one_row(more, installed, bound, upstream):
    bound(django, more.Ship)
    ferry, ship = (
        model.objects.create(opencode_session_id=upstream.make()) for model in (more.Ferry, more.Ship)
    )
    by_parent = more.Ferry.objects.create(opencode_session_id=upstream.make())
    ferry.delete()
    ship.delete()
    more.Ship.objects.get(pk=by_parent.pk).delete()
    assert not any(upstream.there(row.opencode_session_id) for row in (ferry, ship, by_parent))


def test_a_child_may_be_named_without_its_parent(more, bound, upstream):
    bound(django, more.Ferry)
    ferry, ship = (
        model.objects.create(opencode_session_id=upstream.make()) for model in (more.Ferry, more.Ship)
    )
    ferry.delete()
    ship.delete()
    assert not upstream.there(ferry.opencode_session_id)
    assert upstream.there(ship.opencode_session_id)


def test_a_row_that_is_deleted_through_a_proxy_is_meant_too(more, bound, upstream):
    bound(django, more.Ship)
    ship = more.Ship.objects.create(opencode_session_id=upstream.make())
    more.OldShip.objects.filter(pk=ship.pk).delete()
    assert not upstream.there(ship.opencode_session_id)


def test_what_cannot_work_is_refused_at_once(client, of_asyncio, django_databases):
    with pytest.raises(errors.ConfigurationError, match="no field named"):
        django.delete_session_with_row(django_models().Owner, client)
    with pytest.raises(errors.ConfigurationError, match="aio"):
        django.delete_session_with_row(django_models().Conversation, of_asyncio)


@functools.cache
def more_django_models():
    from opencode_sessions.django.models import RecordModel  # noqa: PLC0415 - not before Django is configured

    class Ship(RecordModel):
        class Meta:
            app_label = "host"

    class OldShip(Ship):
        class Meta:
            app_label = "host"
            proxy = True

    class Ferry(Ship):
        class Meta:
            app_label = "host"

    create_django_tables(Ship, Ferry)
    return SimpleNamespace(Ship=Ship, OldShip=OldShip, Ferry=Ferry)
