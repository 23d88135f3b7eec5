from __future__ import annotations

import functools
import io
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import connections, models, transaction
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from fix_stores import DIGEST, create_django_tables, run, walk
from host_benches import DjangoBench

from opencode_sessions.django import DjangoMessageStore, DjangoRecordStore
from opencode_sessions.errors import ConfigurationError, OpenTransactionError
from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.records import RecordState


@functools.cache
def more_models():
    from opencode_sessions.django.models import RecordModel  # noqa: PLC0415 - not before Django is configured

    class Vehicle(RecordModel):
        class Meta:
            app_label = "host"

    class Train(Vehicle):
        number = models.IntegerField()

        class Meta:
            app_label = "host"

    class Seat(RecordModel):
        pk = models.CompositePrimaryKey("row", "letter")
        row = models.IntegerField()
        letter = models.CharField(max_length=1)

        class Meta:
            app_label = "host"

    class NothingManager(models.Manager):
        def get_queryset(self):
            return super().get_queryset().none()

    class Hidden(RecordModel):
        objects = NothingManager()
        everything = models.Manager()

        class Meta:
            app_label = "host"
            base_manager_name = "objects"

    create_django_tables(Vehicle, Train, Seat, Hidden)
    return SimpleNamespace(Vehicle=Vehicle, Train=Train, Seat=Seat, Hidden=Hidden)


@pytest.fixture
def bench(make_bench):
    return make_bench("django-sqlite-sync")


@pytest.fixture
def more(bench):
    return more_models()


def test_in_multi_table_inheritance_the_comparison_and_the_write_are_one_statement(bench, more):
    train = more.Train.objects.create(number=7)
    store = bench.store(train)
    with CaptureQueriesContext(
        connections["default"],
    ) as captured:
        run(store.reserve(None, new_session_id()))
    (statement,) = [query["sql"] for query in captured]
    assert statement.startswith('UPDATE "host_vehicle"')
    assert '"opencode_session_id" IS NULL' in statement
    assert store.key == f"host_vehicle:{train.pk}"
    assert run(store.read(lambda fresh: (type(fresh), fresh.number)))[1] == (more.Train, 7)


def test_a_composite_key_names_one_row(bench, more):
    first, second = (more.Seat.objects.create(row=1, letter=letter) for letter in "AB")
    store = bench.store(first)
    assert store.key == "host_seat:1,A"
    mine = walk(store)
    assert run(store.read(lambda fresh: fresh.letter))[1] == "A"
    second.refresh_from_db()
    first.refresh_from_db()
    assert (first.opencode_session_id, second.opencode_session_id) == (mine, None)


def test_a_manager_that_hides_rows_hides_none_from_the_store(bench, more):
    record = more.Hidden()
    record.save()
    store = bench.store(record)
    walk(store)
    assert run(store.read(lambda fresh: fresh.pk))[1] == record.pk


def test_a_model_without_a_field_is_told_which(bench):
    with pytest.raises(ConfigurationError, match=r"Owner has no field named 'opencode_session_id'"):
        DjangoRecordStore(bench.models.Owner())
    with pytest.raises(ConfigurationError, match=r"Conversation has no field named 'prompt'"):
        DjangoMessageStore(bench.record())


def test_the_refusal_of_an_open_transaction_names_atomic_requests(bench):
    store = bench.store(bench.record())
    with transaction.atomic(), pytest.raises(OpenTransactionError, match="ATOMIC_REQUESTS") as caught:
        store.check()
    assert "'default'" in str(caught.value)


def test_a_transaction_on_another_database_does_not_matter(bench):
    store = bench.store(bench.record())
    with transaction.atomic(using="postgres"):
        store.check()
        walk(store)
    connections["postgres"].close()


def test_autocommit_that_was_turned_off_is_an_open_transaction(bench):
    store = bench.store(bench.record())
    transaction.set_autocommit(False)
    try:
        with pytest.raises(OpenTransactionError):
            store.check()
        with pytest.raises(OpenTransactionError):
            run(store.reserve(None, new_session_id()))
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    store.check()


def test_async_code_called_from_within_a_transaction_is_refused_at_the_write(make_bench):
    record = make_bench("django-sqlite-async").record()
    store = record.__opencode_store__(asynchronous=True)
    with transaction.atomic(), pytest.raises(OpenTransactionError):
        async_to_sync(store.reserve)(None, new_session_id())
    record.refresh_from_db()
    assert record.opencode_session_id is None


def test_the_transaction_around_a_test_of_djangos_does_not_count(bench):
    class HostTest(TestCase):
        databases = {"default"}  # noqa: RUF012 - unittest's way

        def test_it(self):
            store = bench.store(bench.record())
            store.check()
            walk(store)
            with transaction.atomic(), pytest.raises(OpenTransactionError):
                store.check()

    result = unittest.TextTestRunner(stream=io.StringIO()).run(HostTest("test_it"))
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.failures + result.errors


def test_a_row_is_sought_in_the_database_that_it_came_from(make_bench):
    bench = make_bench("django-postgres-sync")
    store = bench.store(bench.record())
    with (
        CaptureQueriesContext(connections["postgres"]) as there,
        CaptureQueriesContext(connections["default"]) as here,
    ):
        walk(store)
    assert len(there) == 3
    assert len(here) == 0


class WritesToPostgres:
    def db_for_read(self, model, **hints):
        return "default"

    def db_for_write(self, model, **hints):
        return "postgres"

    def allow_relation(self, *_, **__):
        return True


def test_a_row_read_from_a_replica_is_written_where_the_router_sends_writes(make_bench):
    bench = make_bench("django-postgres-sync")
    record = bench.record()
    record._state.db = "default"  # as if a replica had given it
    with override_settings(DATABASE_ROUTERS=[WritesToPostgres()]):
        mine = walk(DjangoRecordStore(record))
    assert bench.row(record)["opencode_session_id"] == mine
    walk(DjangoRecordStore(bench.record(), using="postgres"))


def test_a_deferred_field_is_not_fetched_to_be_seen(bench):
    record = bench.record()
    mine = walk(bench.store(record))
    copy = bench.models.Conversation.objects.only("title").get(pk=record.pk)
    store = bench.store(copy)
    with CaptureQueriesContext(connections["default"]) as captured:
        assert store.seen is None
        store.remember(RecordState(mine, ready=True, digest=DIGEST))
        assert store.seen == copy.opencode_session_id == mine
    assert len(captured) == 0


def test_what_a_reading_function_saves_is_rolled_back(bench):
    record = bench.record(title="Rome")

    def save(fresh):
        fresh.title = "Oslo"
        fresh.save()
        return fresh.title

    assert run(bench.store(record).read(save))[1] == "Oslo"
    assert bench.row(record)["title"] == "Rome"


def test_a_message_remembers_no_enum(bench):
    message = bench.message("?")
    store = bench.store(message)
    run(store.take(run(store.load()), 60))
    store.remember(run(store.load()))
    assert type(message.status) is str
    message.full_clean()


@contextmanager
def isolated(level):
    """Another alias of the PostgreSQL database, under that isolation level.

    Django's own option `isolation_level` is silent in autocommit, which is how a store writes.
    """
    options = {"options": f"-c default_transaction_isolation={level}"}
    connections.settings["isolated"] = {**connections.settings["postgres"], "OPTIONS": options}
    try:
        yield "isolated"
    finally:
        connections["isolated"].close()
        del connections["isolated"]
        del connections.settings["isolated"]


@contextmanager
def locked(postgres, record):
    """Somebody else has written to the row, and commits as soon as another waits for it."""
    with psycopg.connect(postgres.url("", connections.settings["postgres"]["NAME"])) as theirs:
        theirs.execute("UPDATE host_conversation SET title = 'theirs' WHERE id = %s", [record.pk])
        yield lambda: wait_until_blocked(postgres)


def wait_until_blocked(postgres):
    deadline = time.monotonic() + 60
    with psycopg.connect(postgres.url(), autocommit=True) as watcher:
        while not watcher.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'"
        ).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("level", ["repeatable\\ read", "serializable"])
def test_a_transaction_that_lost_to_another_is_tried_again(bench, postgres, level):
    with isolated(level) as alias:
        strict = DjangoBench(alias)
        record, mine = strict.record(), new_session_id()

        def reserve():
            try:
                return run(strict.store(strict.another(record)).reserve(None, mine))
            finally:
                strict.leave_thread()

        with ThreadPoolExecutor(1) as pool:
            with locked(postgres, record) as wait:
                reserved = pool.submit(reserve)
                wait()
            assert reserved.result() == RecordState(mine, ready=False)
        assert strict.row(record)["title"] == "theirs"


def test_the_package_may_stand_in_installed_apps():
    code = (
        "import django; from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['opencode_sessions.django'])\n"
        "django.setup()\n"
        "from opencode_sessions.django.models import RecordModel\n"
        "assert RecordModel._meta.abstract\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
