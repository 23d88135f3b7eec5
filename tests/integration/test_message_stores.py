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


LEASE = 60.0
ASKS = ({"id": "per_1", "kind": "permission", "permission": "bash"},)


def taken(bench, store, lease=LEASE):
    """Take the turn of a row as it is now; the epoch."""
    seen = bench.run(store.load())
    assert bench.run(store.take(seen, lease)) is True
    return seen.epoch + 1


def streaming(epoch, **more):
    return replace(MessageState("Where is Rome?"), status=TurnStatus.STREAMING, epoch=epoch, **more)


def test_a_taken_turn_streams_under_its_epoch(bench, store):
    assert taken(bench, store) == 1
    assert bench.run(store.load()) == streaming(1)


def test_a_turn_is_taken_once_from_what_was_seen(bench, store):
    seen = bench.run(store.load())
    assert bench.run(store.take(seen, LEASE)) is True
    assert bench.run(store.take(seen, LEASE)) is False
    assert bench.run(store.load()).epoch == 1


def test_of_many_who_take_a_turn_at_once_one_does(bench, message, store):
    seen = bench.run(store.load())
    won = bench.race(message, lambda store, _: store.take(seen, LEASE), runners=12)
    assert sorted(won) == [False] * 11 + [True]
    assert bench.run(store.load()).epoch == 1


def test_where_the_prompt_goes_is_stored_under_the_epoch(bench, store):
    epoch, mine = taken(bench, store), new_id()
    assert bench.run(store.address(epoch, "ses_1", mine)) is True
    assert bench.run(store.load()) == streaming(1, session_id="ses_1", prompt_id=mine)
    assert bench.run(store.address(epoch - 1, "ses_2", new_id())) is False


def test_a_turn_of_which_nothing_was_sent_can_be_put_back(bench, store):
    epoch = taken(bench, store)
    bench.run(store.address(epoch, "ses_1", new_id()))
    assert bench.run(store.put_back(epoch)) is True
    assert bench.run(store.load()) == replace(MessageState("Where is Rome?"), epoch=1)
    assert bench.run(store.put_back(epoch)) is False
    assert taken(bench, store) == 2


def test_a_turn_is_abandoned_when_its_lease_has_run_out(bench, store):
    epoch = taken(bench, store)
    assert bench.run(store.load()).abandoned is False
    assert bench.run(store.extend(epoch, 0)) is True
    assert bench.run(store.load()).abandoned is True
    assert bench.run(store.extend(epoch, LEASE)) is True
    assert bench.run(store.load()).abandoned is False


def test_a_snapshot_is_stored_as_it_is_and_goes_on_streaming(bench, store):
    epoch, mine = taken(bench, store, lease=0), new_id()
    bench.run(store.address(epoch, "ses_1", mine))
    said = replace(ANSWER, asks=ASKS, revision=7)
    assert bench.run(store.snapshot(epoch, said, LEASE)) is True
    stored = replace(said, status=TurnStatus.STREAMING, epoch=1, session_id="ses_1", prompt_id=mine)
    assert bench.run(store.load()) == stored


def test_a_runner_from_whom_the_turn_was_taken_writes_nothing(bench, store):
    old = taken(bench, store)
    new = taken(bench, store)
    assert bench.run(store.snapshot(old, ANSWER, LEASE)) is False
    assert bench.run(store.finish(old, replace(ANSWER, status=TurnStatus.COMPLETED))) is False
    assert bench.run(store.address(old, "ses_1", new_id())) is False
    assert bench.run(store.extend(old, LEASE)) is False
    assert bench.run(store.put_back(old)) is False
    assert bench.run(store.load()) == streaming(new)


def test_a_pending_turn_takes_no_writes(bench, store):
    assert bench.run(store.snapshot(0, ANSWER, LEASE)) is False
    assert bench.run(store.finish(0, replace(ANSWER, status=TurnStatus.COMPLETED))) is False
    assert bench.run(store.load()) == MessageState("Where is Rome?")


@pytest.mark.parametrize("status", [TurnStatus.COMPLETED, TurnStatus.CANCELLED, TurnStatus.FAILED])
def test_a_finished_turn_stands(bench, store, status):
    epoch = taken(bench, store)
    error = {"name": "ProviderError", "data": {"status": 500}} if status is TurnStatus.FAILED else None
    end = replace(ANSWER, status=status, epoch=epoch, error=error)
    assert bench.run(store.finish(epoch, end)) is True
    assert bench.run(store.finish(epoch, replace(end, content="something else"))) is False
    assert bench.run(store.snapshot(epoch, replace(end, content="something else"), LEASE)) is False
    assert bench.run(store.load()) == end


def test_of_many_who_finish_a_turn_at_once_one_does(bench, message, store):
    epoch = taken(bench, store)
    ends = [replace(ANSWER, status=TurnStatus.COMPLETED, content=str(number)) for number in range(8)]
    finished = bench.race(message, lambda store, number: store.finish(epoch, ends[number]), runners=8)
    assert sorted(finished) == [False] * 7 + [True]
    assert bench.run(store.load()).content == str(finished.index(True))


@pytest.mark.parametrize("begun", [False, True], ids=["pending", "streaming"])
def test_a_cancelled_turn_keeps_what_it_said_and_raises_the_epoch(bench, store, begun):
    if begun:
        epoch = taken(bench, store)
        bench.run(store.snapshot(epoch, replace(ANSWER, asks=ASKS), LEASE))
    seen = bench.run(store.load())
    assert bench.run(store.cancel(seen, {"name": "Cancelled", "by": "ada"})) is True
    found = bench.run(store.load())
    assert found == replace(
        seen,
        status=TurnStatus.CANCELLED,
        epoch=seen.epoch + 1,
        asks=(),
        error={"name": "Cancelled", "by": "ada"},
        revision=seen.revision + 1,
    )
    assert bench.run(store.finish(seen.epoch, replace(ANSWER, status=TurnStatus.COMPLETED))) is False


def test_a_cancel_that_saw_an_older_answer_looks_again(bench, store):
    epoch = taken(bench, store)
    seen = bench.run(store.load())
    bench.run(store.snapshot(epoch, replace(ANSWER, revision=1), LEASE))
    assert bench.run(store.cancel(seen, {"name": "Cancelled"})) is False


def test_what_a_cancelled_turn_said_in_the_end_is_amended_once_under_its_epoch(bench, store):
    seen = bench.run(store.load())
    bench.run(store.cancel(seen, {"name": "Cancelled"}))
    end = replace(ANSWER, status=TurnStatus.CANCELLED, epoch=1, error={"name": "Cancelled"}, revision=2)
    assert bench.run(store.amend(0, end)) is False
    assert bench.run(store.amend(1, end)) is True
    assert bench.run(store.load()) == end


def test_the_prompt_is_never_overwritten(bench, store):
    epoch = taken(bench, store)
    bench.run(store.finish(epoch, replace(ANSWER, prompt="Another?", status=TurnStatus.COMPLETED)))
    assert bench.run(store.load()).prompt == "Where is Rome?"


def test_the_row_says_when_the_turn_was_first_started_and_when_it_ended(database_bench):
    message = database_bench.message("?")
    store = database_bench.store(message)
    row = database_bench.row(message)
    assert (row["started_at"], row["finished_at"]) == (None, None)
    taken(database_bench, store)
    began = database_bench.row(message)["started_at"]
    epoch = taken(database_bench, store)
    database_bench.run(store.snapshot(epoch, ANSWER, LEASE))
    assert database_bench.row(message)["finished_at"] is None
    database_bench.run(store.finish(epoch, replace(ANSWER, status=TurnStatus.COMPLETED)))
    row = database_bench.row(message)
    assert row["started_at"] == began
    assert row["finished_at"] > began
    assert row["opencode_turn_lease"] is None


def test_an_error_that_is_none_is_null_in_the_database(database_bench):
    message = database_bench.message("?")
    store = database_bench.store(message)
    epoch = taken(database_bench, store)
    database_bench.run(store.snapshot(epoch, ANSWER, LEASE))
    assert database_bench.row(message)["error"] is None
    database_bench.write(message, error={"name": "X"})
    database_bench.run(store.snapshot(epoch, ANSWER, LEASE))
    assert database_bench.run(store.load()).error is None


def test_the_callers_copy_shows_what_is_remembered_without_a_query(database_bench):
    message, mine = database_bench.message("?"), new_id()
    store = database_bench.store(message)
    epoch = taken(database_bench, store)
    end = replace(ANSWER, status=TurnStatus.FAILED, prompt_id=mine, error={"name": "X"})
    database_bench.run(store.finish(epoch, end))
    store.remember(end)
    assert message.status == "failed"
    assert type(message.status) is str
    assert message.content == ANSWER.content
    assert message.parts == list(ANSWER.parts)
    assert (message.error, message.cost, message.output_tokens) == ({"name": "X"}, 1.0123456789, 7)
    assert message.opencode_prompt_id == mine
    store.check()


def test_a_row_that_vanished_is_gone(database_bench):
    message = database_bench.message("?")
    store = database_bench.store(message)
    epoch = taken(database_bench, store)
    seen = database_bench.run(store.load())
    key = store.key
    database_bench.delete(message)
    with pytest.raises(RecordGoneError) as caught:
        database_bench.run(store.load())
    assert caught.value.record == key
    assert database_bench.run(store.take(seen, LEASE)) is False
    assert database_bench.run(store.finish(epoch, ANSWER)) is False


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
    store = database_bench.store(database_bench.message("?"))
    seen = database_bench.run(store.load())
    for call in (
        store.load,
        lambda: store.take(seen, LEASE),
        lambda: store.take(seen, LEASE),
        lambda: store.address(1, "ses_1", new_id()),
        lambda: store.snapshot(1, ANSWER, LEASE),
        lambda: store.extend(1, LEASE),
        lambda: store.finish(1, replace(ANSWER, status=TurnStatus.COMPLETED)),
        lambda: store.finish(1, ANSWER),
    ):
        database_bench.run(call())
        assert database_bench.idle()


def test_what_a_database_refuses_is_stored_with_a_replacement(database_bench):
    store = database_bench.store(database_bench.message("?"))
    epoch = taken(database_bench, store)
    odd = "nul \x00 and half a pair \ud83d"
    said = MessageState(
        "?",
        TurnStatus.FAILED,
        content=odd,
        parts=[{"type": "text", "text": odd, odd: [odd]}],
        error={"message": odd},
    )
    assert database_bench.run(store.finish(epoch, said))
    found = database_bench.run(store.load())
    plain = "nul \ufffd and half a pair \ufffd"
    assert (found.content, found.error) == (plain, {"message": plain})
    assert list(found.parts) == [{"type": "text", "text": plain, plain: [plain]}]
