from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from opencode_sessions.errors import OpenTransactionError, RecordGoneError, RecordNotSavedError
from opencode_sessions.store.messages import MessageState, TurnStatus

ANSWER = MessageState(
    "Where is Rome?",
    content="In Italy 🇮🇹, 'quoted' and \"quoted\"" + 70_000 * ".",
    parts=(
        {"type": "text", "text": "In Italy\u2028", "nested": {"list": [1, 2.5, None, True, "ä"]}},
        {"type": "tool", "state": {"status": "completed", "output": ""}},
    ),
    cost=1.0123456789,
    input_tokens=120,
    output_tokens=7,
)


def new_id():
    return f"msg_{uuid.uuid4().hex}"


@pytest.fixture
def message(bench):
    return bench.message("Where is Rome?")


@pytest.fixture
def store(bench, message):
    return bench.store(message)


def test_a_new_message_is_pending(bench, store):
    assert bench.run(store.load()) == MessageState("Where is Rome?")


def test_a_started_turn_streams_under_its_prompt_id(bench, store):
    mine = new_id()
    assert bench.run(store.start(None, mine)) is True
    assert bench.run(store.load()) == MessageState("Where is Rome?", TurnStatus.STREAMING, mine)


def test_a_turn_is_started_once(bench, store):
    mine = new_id()
    bench.run(store.start(None, mine))
    assert bench.run(store.start(None, new_id())) is False
    assert bench.run(store.load()).prompt_id == mine


def test_of_many_who_start_a_turn_at_once_one_does(bench, message, store):
    ids = [new_id() for _ in range(12)]
    started = bench.race(message, lambda store, number: store.start(None, ids[number]), runners=12)
    assert sorted(started) == [False] * 11 + [True]
    assert bench.run(store.load()).prompt_id == ids[started.index(True)]


def test_a_turn_is_taken_over_by_naming_the_prompt_id_it_has(bench, store):
    old, new = new_id(), new_id()
    bench.run(store.start(None, old))
    assert bench.run(store.start(new_id(), new)) is False
    assert bench.run(store.start(old, new)) is True
    assert bench.run(store.start(old, new_id())) is False
    assert bench.run(store.load()).prompt_id == new


def test_a_pending_turn_cannot_be_taken_over(bench, store):
    assert bench.run(store.start(new_id(), new_id())) is False
    assert bench.run(store.load()).status is TurnStatus.PENDING


def test_a_snapshot_is_stored_as_it_is_and_goes_on_streaming(bench, store):
    mine = new_id()
    bench.run(store.start(None, mine))
    assert bench.run(store.snapshot(mine, ANSWER)) is True
    assert bench.run(store.load()) == replace(ANSWER, status=TurnStatus.STREAMING, prompt_id=mine)


def test_a_snapshot_of_a_turn_that_was_taken_over_is_refused(bench, store):
    old, new = new_id(), new_id()
    bench.run(store.start(None, old))
    bench.run(store.start(old, new))
    assert bench.run(store.snapshot(old, ANSWER)) is False
    assert bench.run(store.finish(old, replace(ANSWER, status=TurnStatus.COMPLETED))) is False
    assert bench.run(store.load()) == MessageState("Where is Rome?", TurnStatus.STREAMING, new)


def test_a_pending_turn_takes_no_snapshot(bench, store):
    assert bench.run(store.snapshot(new_id(), ANSWER)) is False
    assert bench.run(store.load()) == MessageState("Where is Rome?")


@pytest.mark.parametrize("status", [TurnStatus.COMPLETED, TurnStatus.CANCELLED, TurnStatus.FAILED])
def test_a_finished_turn_stands(bench, store, status):
    mine = new_id()
    bench.run(store.start(None, mine))
    error = {"name": "ProviderError", "data": {"status": 500}} if status is TurnStatus.FAILED else None
    end = replace(ANSWER, status=status, error=error, prompt_id=mine)
    assert bench.run(store.finish(mine, end)) is True
    assert bench.run(store.finish(mine, replace(end, content="something else"))) is False
    assert bench.run(store.snapshot(mine, replace(end, content="something else"))) is False
    assert bench.run(store.start(mine, new_id())) is False
    assert bench.run(store.start(None, new_id())) is False
    assert bench.run(store.load()) == end


def test_of_many_who_finish_a_turn_at_once_one_does(bench, message, store):
    mine = new_id()
    bench.run(store.start(None, mine))
    ends = [replace(ANSWER, status=TurnStatus.COMPLETED, content=str(number)) for number in range(8)]
    finished = bench.race(message, lambda store, number: store.finish(mine, ends[number]), runners=8)
    assert sorted(finished) == [False] * 7 + [True]
    assert bench.run(store.load()).content == str(finished.index(True))


def test_the_prompt_is_never_overwritten(bench, store):
    mine = new_id()
    bench.run(store.start(None, mine))
    bench.run(store.finish(mine, replace(ANSWER, prompt="Another?", status=TurnStatus.COMPLETED)))
    assert bench.run(store.load()).prompt == "Where is Rome?"


def test_the_row_says_when_the_turn_was_first_started_and_when_it_ended(database_bench):
    message = database_bench.message("?")
    store, first, second = database_bench.store(message), new_id(), new_id()
    row = database_bench.row(message)
    assert (row["started_at"], row["finished_at"]) == (None, None)
    database_bench.run(store.start(None, first))
    began = database_bench.row(message)["started_at"]
    database_bench.run(store.start(first, second))
    database_bench.run(store.snapshot(second, ANSWER))
    assert database_bench.row(message)["finished_at"] is None
    database_bench.run(store.finish(second, replace(ANSWER, status=TurnStatus.COMPLETED)))
    row = database_bench.row(message)
    assert row["started_at"] == began
    assert row["finished_at"] > began


def test_an_error_that_is_none_is_null_in_the_database(database_bench):
    message, mine = database_bench.message("?"), new_id()
    store = database_bench.store(message)
    database_bench.run(store.start(None, mine))
    database_bench.run(store.snapshot(mine, ANSWER))
    assert database_bench.row(message)["error"] is None
    database_bench.write(message, error={"name": "X"})
    database_bench.run(store.snapshot(mine, ANSWER))
    assert database_bench.run(store.load()).error is None


def test_the_callers_copy_shows_what_is_remembered_without_a_query(database_bench):
    message, mine = database_bench.message("?"), new_id()
    store = database_bench.store(message)
    database_bench.run(store.start(None, mine))
    end = replace(ANSWER, status=TurnStatus.FAILED, prompt_id=mine, error={"name": "X"})
    database_bench.run(store.finish(mine, end))
    store.remember(end)
    assert message.status == "failed"
    assert type(message.status) is str
    assert message.content == ANSWER.content
    assert message.parts == list(ANSWER.parts)
    assert (message.error, message.cost, message.output_tokens) == ({"name": "X"}, 1.0123456789, 7)
    assert message.opencode_prompt_id == mine
    store.check()


def test_a_row_that_vanished_is_gone(database_bench):
    message, mine = database_bench.message("?"), new_id()
    store = database_bench.store(message)
    database_bench.run(store.start(None, mine))
    key = store.key
    database_bench.delete(message)
    with pytest.raises(RecordGoneError) as caught:
        database_bench.run(store.load())
    assert caught.value.record == key
    assert database_bench.run(store.start(mine, new_id())) is False
    assert database_bench.run(store.finish(mine, ANSWER)) is False


def test_an_unsaved_message_is_refused(database_bench):
    _, message = database_bench.unsaved()
    with pytest.raises(RecordNotSavedError, match="commit"):
        database_bench.store(message).check()


def test_an_open_transaction_of_the_caller_is_refused(database_bench):
    message = database_bench.message("?")
    store = database_bench.store(message)
    with database_bench.open_transaction(message), pytest.raises(OpenTransactionError):
        store.check()
    store.check()


def test_a_status_that_is_none_is_refused_by_the_database(database_bench):
    message = database_bench.message("?")
    with pytest.raises(Exception, match=r"(?i)check|constraint") as caught:
        database_bench.write(message, status="running")
    # The second is what MariaDB's drivers make of it.
    assert type(caught.value).__name__ in ("IntegrityError", "OperationalError")


def test_nothing_is_held_after_any_call(database_bench):
    message, mine = database_bench.message("?"), new_id()
    store = database_bench.store(message)
    for call in (
        store.load,
        lambda: store.start(None, mine),
        lambda: store.snapshot(mine, ANSWER),
        lambda: store.finish(mine, replace(ANSWER, status=TurnStatus.COMPLETED)),
        lambda: store.finish(mine, ANSWER),
    ):
        database_bench.run(call())
        assert database_bench.idle()


def test_what_a_database_refuses_is_stored_with_a_replacement(database_bench):
    store = database_bench.store(database_bench.message("?"))
    database_bench.run(store.start(None, prompt_id := new_id()))
    odd = "nul \x00 and half a pair \ud83d"
    said = MessageState(
        "?",
        TurnStatus.FAILED,
        content=odd,
        parts=[{"type": "text", "text": odd, odd: [odd]}],
        error={"message": odd},
    )
    assert database_bench.run(store.finish(prompt_id, said))
    found = database_bench.run(store.load())
    plain = "nul \ufffd and half a pair \ufffd"
    assert (found.content, found.error) == (plain, {"message": plain})
    assert list(found.parts) == [{"type": "text", "text": plain, plain: [plain]}]
