from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest
from fix_stores import COVERING, DATABASES, django_alias, sqlalchemy_urls
from message_benches import DjangoMessages, MemoryMessages, SQLAlchemyMessages
from selection import sample

from opencode_sessions.errors import RecordNotSavedError
from opencode_sessions.protocol.plain import plain
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.testing.conformance import MessageStoreConformance

ANSWER = MessageState(
    "Where is Rome?",
    content="In Italy",
    parts=({"type": "text", "text": "In Italy"},),
    cost=1.0123456789,
    input_tokens=120,
    output_tokens=7,
)
LEASE = 60.0


class TestEveryMessageStore(MessageStoreConformance):
    """The suite, over all the stores of ours."""

    @pytest.fixture(scope="class", params=sample(["memory", *DATABASES], "memory", *COVERING))
    @classmethod
    def bench(cls, request):
        bench = messages(request.getfixturevalue, *request.param.split("-"))
        yield bench
        bench.close()


def messages(fixture, host, database=None, api=None):
    if host == "memory":
        return MemoryMessages()
    if host == "django":
        return DjangoMessages(django_alias(fixture, database), asynchronous=api == "async")
    urls = sqlalchemy_urls(fixture, database)
    return SQLAlchemyMessages(*(urls if api == "async" else urls[:1]))


def new_id():
    return f"msg_{uuid.uuid4().hex}"


def taken(bench, store, lease=LEASE):
    """Take the turn of a row as it is now; the epoch."""
    seen = bench.run(store.load())
    assert bench.run(store.take(seen, lease)) is True
    return seen.epoch + 1


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


def test_a_turn_that_was_put_back_has_not_been_started(database_bench):
    message = database_bench.message("?")
    store = database_bench.store(message)
    assert database_bench.run(store.reset_to_pending(taken(database_bench, store)))
    row = database_bench.row(message)
    assert (row["started_at"], row["opencode_turn_lease"]) == (None, None)


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


def test_an_unsaved_message_is_refused(database_bench):
    _, message = database_bench.unsaved()
    with pytest.raises(RecordNotSavedError, match="commit"):
        database_bench.store(message).check()


def test_a_status_that_is_none_is_refused_by_the_database(database_bench):
    message = database_bench.message("?")
    with pytest.raises(Exception, match=r"(?i)check|constraint") as caught:
        database_bench.write(message, status="running")
    # The second is what MariaDB's drivers make of it.
    assert type(caught.value).__name__ in ("IntegrityError", "OperationalError")


def test_what_a_database_refuses_is_stored_with_a_replacement(bench):
    store = bench.store(bench.message("?"))
    epoch = taken(bench, store)
    odd = "nul \x00 and half a pair \ud83d"
    said = MessageState(
        "?",
        TurnStatus.FAILED,
        content=odd,
        parts=[{"type": "text", "text": odd, odd: [odd]}],
        error={"message": odd},
    )
    assert bench.run(store.finish(epoch, said))
    found = bench.run(store.load())
    plain = "nul \ufffd and half a pair \ufffd"
    assert (found.content, found.error) == (plain, {"message": plain})
    assert list(found.parts) == [{"type": "text", "text": plain, plain: [plain]}]


@pytest.fixture(params=sample(DATABASES, *COVERING))
def deep(request, make_bench):
    """A part that is nested as deep as a reply keeps a tool's input, for each database."""
    nested = plain(json.loads("[" * 100 + "]" * 100))
    return make_bench(request.param), {"type": "tool", "input": {"in": nested}}


def test_an_answer_may_be_nested_deep(deep):
    bench, part = deep
    store = bench.store(bench.message("?"))
    end = replace(ANSWER, status=TurnStatus.COMPLETED, parts=(part,))
    assert bench.run(store.finish(taken(bench, store), end))
    assert bench.run(store.load()).parts == (part,)
