"""Row-level security of PostgreSQL, with the context that docs/tenants.md shows: the rows of one role, by a setting."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import psycopg
import pytest
from django.db import connections
from django.test import override_settings
from fix_stores import add_alias, run
from host_models import django_models

from opencode_sessions.errors import RecordGoneError
from opencode_sessions.protocol.ids import new_session_id

tenant = ContextVar("tenant", default="")


def set_tenant(connection):
    with connection.connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant', %s, false)", [tenant.get()])


@contextmanager
def tenant_context(name):
    def in_force(execute, sql, params, many, context):
        set_tenant(context["connection"])
        return execute(sql, params, many, context)

    token = tenant.set(name)
    try:
        with connections["secured"].execute_wrapper(in_force):
            yield
    finally:
        tenant.reset(token)
        if connections["secured"].connection is not None:
            with suppress(psycopg.Error):  # of a transaction that failed; its rollback takes the setting back
                set_tenant(connections["secured"])


HOOKS = {
    "CURRENT_TENANT": tenant.get,
    "TENANT_CONTEXT": tenant_context,
    "ALL_TENANTS": lambda: ["acme", "globex"],
}


@pytest.fixture
def secured(django_databases):
    """The alias of a role that sees the rows of one tenant, of the tables of `postgres`."""
    models = django_models()
    tables = [models.Conversation._meta.db_table, models.Answer._meta.db_table]
    with connections["postgres"].cursor() as cursor:
        cursor.execute("CREATE ROLE tenants_app LOGIN")
        for table in (*tables, models.Owner._meta.db_table):
            cursor.execute(f"GRANT ALL ON {table} TO tenants_app")
        for table, column in zip(tables, ("title", "prompt"), strict=True):
            cursor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            cursor.execute(
                f"CREATE POLICY mine ON {table} USING ({column} = current_setting('app.tenant', true))"
            )
    add_alias("secured", {**connections["postgres"].settings_dict, "USER": "tenants_app"})
    yield models
    connections["secured"].close()
    del connections["secured"]
    del connections.settings["secured"]
    with connections["postgres"].cursor() as cursor:
        for table in tables:
            cursor.execute(f"DROP POLICY mine ON {table}")
            cursor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        cursor.execute("DROP OWNED BY tenants_app")
        cursor.execute("DROP ROLE tenants_app")
    connections.close_all()


def in_a_thread(work):
    """Of a thread that knows no tenant."""
    done = []

    def run_it():
        try:
            done.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run_it)
    thread.start()
    thread.join()
    return done[0]


def test_a_row_is_read_and_written_in_its_tenants_context_from_any_thread(secured):
    rows, _ = secured.Conversation.objects.using("postgres"), connections.close_all()
    pk = rows.create(title="globex").pk
    with override_settings(OPENCODE=HOOKS):
        with tenant_context("globex"):
            record = secured.Conversation.objects.using("secured").get(pk=pk)
            store = record.__opencode_store__(asynchronous=False)
        mine = new_session_id()
        assert in_a_thread(lambda: run(store.reserve(None, mine))).session_id == mine
        assert run(store.load()).session_id == mine
    with override_settings(OPENCODE={}), pytest.raises(RecordGoneError, match="does not see it"):
        run(record.__opencode_store__(asynchronous=False).load())


def test_the_store_of_another_message_is_of_the_same_tenant(secured):
    rows, _ = secured.Answer.objects.using("postgres"), connections.close_all()
    first, second = (rows.create(prompt="globex").pk for _ in range(2))
    with override_settings(OPENCODE=HOOKS):
        with tenant_context("globex"):
            message = secured.Answer.objects.using("secured").get(pk=first)
            store = message.__opencode_store__(asynchronous=False)
        sibling = store.sibling(f"{secured.Answer._meta.db_table}:{second}")
        assert in_a_thread(lambda: run(sibling.load())).prompt == "globex"


def test_a_store_holds_no_connection_in_its_tenants_context(secured):
    rows, _ = secured.Conversation.objects.using("postgres"), connections.close_all()
    pk = rows.create(title="globex").pk
    with override_settings(OPENCODE=HOOKS):
        with tenant_context("globex"):
            record = secured.Conversation.objects.using("secured").get(pk=pk)
            connections["secured"].close()
            run(record.__opencode_store__(asynchronous=False).load())
            assert connections["secured"].connection is None
