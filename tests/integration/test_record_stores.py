from __future__ import annotations

from datetime import datetime

import pytest
from fix_stores import COVERING, DATABASES, DIGEST, django_alias, sqlalchemy_urls
from selection import sample
from suite_benches import DjangoRows, MemoryRows, SQLAlchemyRows

from opencode_sessions.errors import RecordNotSavedError
from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.sessions.spec import SessionSpec
from opencode_sessions.store.records import RecordState
from opencode_sessions.testing.conformance import RecordStoreConformance

STORES = ["memory", *DATABASES, "sqlalchemy-wal-sync", "sqlalchemy-wal-async", "django-wal-sync"]


class TestEveryStore(RecordStoreConformance):
    """The suite, over all the stores of ours."""

    @pytest.fixture(scope="class", params=sample(STORES, "memory", *COVERING))
    @classmethod
    def bench(cls, request):
        bench = rows(request.getfixturevalue, *request.param.split("-"))
        yield bench
        bench.close()


def rows(fixture, host, database=None, api=None):
    if host == "memory":
        return MemoryRows()
    if host == "django":
        return DjangoRows(django_alias(fixture, database), asynchronous=api == "async")
    urls = sqlalchemy_urls(fixture, database)
    return SQLAlchemyRows(*(urls if api == "async" else urls[:1]))


def test_a_reading_function_gets_a_fresh_copy_and_may_follow_relations(bench):
    store = bench.store(bench.record(title="Rome", owner="Ada"))
    state, made = bench.run(store.read(lambda record: (record.title, record.owner.name)))
    assert (state, made) == (RecordState(), ("Rome", "Ada"))


def test_what_a_reading_function_changes_is_not_stored(database_bench):
    record = database_bench.record(title="Rome")

    def change(fresh):
        assert fresh is not record
        fresh.title = "Oslo"
        return fresh.title

    store = database_bench.store(record)
    assert database_bench.run(store.read(change)) == (RecordState(), "Oslo")
    assert database_bench.row(record)["title"] == "Rome"


def test_the_title_is_the_records_own(database_bench):
    store = database_bench.store(database_bench.record(title="Rome"))
    _, brief = database_bench.run(store.read(lambda record: SessionSpec.of(record, None)))
    assert brief.title == "Rome"


def test_the_key_names_table_and_primary_key(database_bench):
    record = database_bench.record()
    assert database_bench.store(record).key == f"{database_bench.table}:{database_bench.identity(record)}"


def test_the_callers_copy_shows_the_sessions_columns_as_they_are_stored(database_bench):
    record, mine = database_bench.record(), new_session_id()
    store = database_bench.store(record)
    columns = [name for name in store.columns if name.startswith("opencode_session_")]
    for call in (
        lambda: store.reserve(None, mine),
        lambda: store.confirm(mine, DIGEST),
        lambda: store.set_digest(mine, DIGEST, DIGEST[::-1]),
        lambda: store.mark_deleting(mine),
        lambda: store.clear_deleted(mine),
    ):
        database_bench.run(call())
        store.remember(database_bench.run(store.load()))
        shown = [getattr(record, name) for name in columns]
        assert _naive(shown) == _naive([database_bench.row(record)[name] for name in columns])


def _naive(values):
    return [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in values]


def test_a_row_that_was_ready_before_there_were_digests_is_renewed_from_none(database_bench):
    record, mine = database_bench.record(), new_session_id()
    store = database_bench.store(record)
    database_bench.run(store.reserve(None, mine))
    database_bench.run(store.confirm(mine, DIGEST))
    database_bench.write(record, opencode_session_digest=None)
    assert database_bench.run(store.load()) == RecordState(mine, ready=True)
    assert database_bench.run(store.set_digest(mine, DIGEST, DIGEST)) is False
    assert database_bench.run(store.set_digest(mine, None, DIGEST)) is True
    assert database_bench.run(store.load()) == RecordState(mine, ready=True, digest=DIGEST)


def test_an_unsaved_record_is_refused(database_bench):
    record, _ = database_bench.unsaved()
    store = database_bench.store(record)
    with pytest.raises(RecordNotSavedError, match="commit"):
        store.check()
    with pytest.raises(RecordNotSavedError):
        _ = store.key
