from __future__ import annotations

import pytest

from opencode_sessions.errors import OpenTransactionError, RecordGoneError, RecordNotSavedError
from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.records import RecordState


def test_a_new_record_names_no_session(bench):
    store = bench.store(bench.record())
    assert bench.run(store.load()) == RecordState(None, ready=False)
    assert store.seen is None


def test_a_reservation_is_not_ready_until_it_is_confirmed(bench):
    store, mine = bench.store(bench.record()), new_session_id()
    assert bench.run(store.reserve(None, mine)) == RecordState(mine, ready=False)
    assert bench.run(store.load()) == RecordState(mine, ready=False)
    assert bench.run(store.confirm(mine)) is True
    assert bench.run(store.load()) == RecordState(mine, ready=True)


def test_a_confirmation_succeeds_exactly_once(bench):
    record, mine = bench.record(), new_session_id()
    store = bench.store(record)
    bench.run(store.reserve(None, mine))
    confirmed = bench.race(record, lambda store, _: store.confirm(mine), runners=8)
    assert sorted(confirmed) == [False] * 7 + [True]


def test_another_sessions_confirmation_changes_nothing(bench):
    store, mine = bench.store(bench.record()), new_session_id()
    bench.run(store.reserve(None, mine))
    assert bench.run(store.confirm(new_session_id())) is False
    assert bench.run(store.load()) == RecordState(mine, ready=False)


def test_a_reservation_that_expected_something_else_reports_what_is_there(bench):
    record, theirs = bench.record(), new_session_id()
    bench.run(bench.store(record).reserve(None, theirs))
    store = bench.store(bench.another(record))
    assert bench.run(store.reserve(None, new_session_id())) == RecordState(theirs, ready=False)
    assert bench.run(store.reserve(new_session_id(), new_session_id())) == RecordState(theirs, ready=False)
    bench.run(store.confirm(theirs))
    assert bench.run(store.reserve(None, new_session_id())) == RecordState(theirs, ready=True)


def test_a_replacement_is_not_ready(bench):
    store, old, new = bench.store(bench.record()), new_session_id(), new_session_id()
    bench.run(store.reserve(None, old))
    bench.run(store.confirm(old))
    assert bench.run(store.reserve(old, new)) == RecordState(new, ready=False)
    assert bench.run(store.load()) == RecordState(new, ready=False)


@pytest.mark.parametrize("expected", ["nothing", "an id"])
def test_of_many_reservations_at_once_one_wins_and_all_see_it(bench, expected):
    record = bench.record()
    before = None if expected == "nothing" else new_session_id()
    if before is not None:
        bench.run(bench.store(record).reserve(None, before))
    ids = [new_session_id() for _ in range(16)]
    seen = bench.race(record, lambda store, number: store.reserve(before, ids[number]), runners=16)
    winner = bench.run(bench.store(record).load())
    assert winner.session_id in ids
    assert set(seen) == {winner}


def test_a_row_that_vanished_is_gone(bench):
    record, mine = bench.record(), new_session_id()
    store = bench.store(record)
    bench.run(store.reserve(None, mine))
    key = store.key
    bench.delete(record)
    for call in (store.load(), store.reserve(mine, new_session_id()), store.read(lambda record: record)):
        with pytest.raises(RecordGoneError) as caught:
            bench.run(call)
        assert caught.value.record == key
    assert bench.run(store.confirm(mine)) is False


def test_a_reading_function_gets_a_fresh_copy_and_may_follow_relations(bench):
    store = bench.store(bench.record(title="Rome", owner="Ada"))
    assert bench.run(store.read(lambda record: (record.title, record.owner.name))) == ("Rome", "Ada")


def test_what_a_reading_function_changes_is_not_stored(database_bench):
    record = database_bench.record(title="Rome")

    def change(fresh):
        assert fresh is not record
        fresh.title = "Oslo"
        return fresh.title

    store = database_bench.store(record)
    assert database_bench.run(store.read(change)) == "Oslo"
    assert database_bench.row(record)["title"] == "Rome"


def test_what_a_reading_function_raises_comes_through(bench):
    def fail(_):
        raise LookupError("no rules for this one")

    store = bench.store(bench.record())
    with pytest.raises(LookupError, match="no rules"):
        bench.run(store.read(fail))
    assert bench.idle()
    assert bench.run(store.load()) == RecordState(None, ready=False)


def test_the_title_is_the_records_own(database_bench):
    store = database_bench.store(database_bench.record(title="Rome"))
    assert database_bench.run(store.read(lambda record: record.opencode_title)) == "Rome"


def test_the_key_names_table_and_primary_key(database_bench):
    record = database_bench.record()
    identity = database_bench.run(database_bench.store(record).read(lambda record: record.id))
    assert database_bench.store(record).key == f"{database_bench.table}:{identity}"


def test_the_callers_copy_shows_what_is_remembered_without_a_query(bench):
    record, mine = bench.record(), new_session_id()
    store = bench.store(record)
    bench.run(store.reserve(None, mine))
    bench.run(store.confirm(mine))
    store.remember(RecordState(mine, ready=True))
    assert record.opencode_session_id == mine
    assert store.seen == mine
    store.check()


def test_the_callers_copy_shows_when_the_rules_came_into_force(database_bench):
    record, mine = database_bench.record(), new_session_id()
    store = database_bench.store(record)
    database_bench.run(store.reserve(None, mine))
    store.remember(RecordState(mine, ready=False))
    assert record.opencode_session_ready_at is None
    database_bench.run(store.confirm(mine))
    stored = database_bench.row(record)["opencode_session_ready_at"]
    store.remember(RecordState(mine, ready=True))
    assert record.opencode_session_ready_at.replace(tzinfo=None) == stored.replace(tzinfo=None)


def test_an_unsaved_record_is_refused(database_bench):
    record, _ = database_bench.unsaved()
    store = database_bench.store(record)
    with pytest.raises(RecordNotSavedError, match="commit"):
        store.check()
    with pytest.raises(RecordNotSavedError):
        _ = store.key


def test_an_open_transaction_of_the_caller_is_refused(database_bench):
    record = database_bench.record()
    store = database_bench.store(record)
    with database_bench.open_transaction(record), pytest.raises(OpenTransactionError) as caught:
        store.check()
    assert caught.value.record == store.key
    store.check()


def test_nothing_is_held_after_any_call(database_bench):
    record, mine = database_bench.record(), new_session_id()
    store = database_bench.store(record)
    calls = [
        store.load,
        lambda: store.read(lambda record: record.title),
        lambda: store.reserve(None, mine),
        lambda: store.reserve(None, new_session_id()),
        lambda: store.confirm(mine),
        lambda: store.confirm(mine),
    ]
    for call in calls:
        database_bench.run(call())
        assert database_bench.idle()
    store.check()


def test_an_id_that_another_row_has_is_refused_by_the_database(database_bench):
    mine = new_session_id()
    database_bench.run(database_bench.store(database_bench.record()).reserve(None, mine))
    store = database_bench.store(database_bench.record())
    with pytest.raises(Exception, match=r"(?i)unique") as caught:
        database_bench.run(store.reserve(None, mine))
    assert type(caught.value).__name__ == "IntegrityError"
    assert database_bench.idle()
    assert database_bench.run(store.load()) == RecordState(None, ready=False)
