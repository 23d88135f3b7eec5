"""`when_busy="cancel"`: the turn that has the record is cancelled as by `Turn.cancel`, and it is never one's own."""

from __future__ import annotations

import threading
import time

import pytest
from fix_cli import eventually
from selection import sample
from turn_runners import run_turn

from opencode_sessions import Deadlines, Session, Turn, TurnInProgressError, allow
from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord, MemoryRecordStore
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns import claim as claim_module
from opencode_sessions.turns.claim import RecordLock
from opencode_sessions.turns.releasing import Release
from opencode_sessions.wire.clients import blocking_wire

WORDS = " ".join(f"word{number}" for number in range(40))
SLOW = f"!slow 0.05\n!say {WORDS}"
SLOWER = f"!slow 0.5\n!say {WORDS} {WORDS} {WORDS}"  # for what is cut short
SAID = "one two three four five six"
HELD = f"!say {SAID}"  # for what is let go on
LEASE = 300  # seconds: longer than any test is to take

both_faces = pytest.mark.parametrize(
    "rows",
    sample(
        [
            "sqlalchemy-postgres-sync",
            "sqlalchemy-sqlite-async",
            "django-postgres-sync",
            "django-sqlite-async",
        ],
        "django-sqlite-async",
    ),
    indirect=True,
)


@pytest.fixture
def rows(request, make_bench):
    return make_bench(request.param)


@pytest.fixture
def speaking(rows, runners, server):
    """A message whose turn is run elsewhere, its record, and its runner."""
    record, message = rows.record("Elsewhere"), rows.message(SLOWER)
    runner = runners.start(rows, server, message, record, lease=LEASE)
    eventually(lambda: "word2" in rows.row(message)["content"])
    return message, record, runner


def cancelling(rows, server, record):
    """What a second turn, which cancels the first, comes to; its key, and the seconds that it took."""
    message = rows.message("now me")
    began = time.monotonic()
    turn = run_turn(rows, (server.url, server.password), message, record, when_busy="cancel")
    result = rows.run(turn)
    return result, rows.store(message).key, time.monotonic() - began


@pytest.fixture
def record_in_use():
    """A record whose turn somebody has."""
    record = MemoryRecord("In use")
    run_sync(MemoryRecordStore(record).claim("messages:1", LEASE))
    return record


def session_of(record):
    return Session(record, permissions_for=lambda _: [allow("*")])


def running(turn):
    results = []
    thread = threading.Thread(target=lambda: results.append(turn.run()))
    thread.start()
    return thread, results


@both_faces
def test_a_turn_cancels_one_that_runs_elsewhere_and_its_row_says_by_whom(rows, server, speaking):
    first, record, _ = speaking
    result, key, _ = cancelling(rows, server, record)
    assert (result.status, result.error) == (TurnStatus.COMPLETED, None)
    row = rows.row(first)
    assert (row["status"], row["error"]["name"], row["error"]["by"]) == ("cancelled", "Cancelled", key)
    assert row["content"].startswith("word0 word1 word2")
    assert row["content"].count("word39") < 3


@both_faces
def test_a_turn_does_not_wait_for_the_lease_of_one_whose_runner_is_dead(
    rows, server, client, runners, speaking
):
    first, record, runner = speaking
    runners.kill(runner)
    result, key, seconds = cancelling(rows, server, record)
    assert (result.status, result.error) == (TurnStatus.COMPLETED, None)
    assert seconds < LEASE / 3
    row = rows.row(first)
    assert (row["status"], row["error"]["by"]) == ("cancelled", key)
    assert row["content"].startswith("word0 word1 word2")
    assert not client.busy(rows.row(record)["opencode_session_id"])


def test_a_message_that_is_run_twice_waits_for_its_own_turn_and_returns_the_same(client, held):
    record, message, waits = MemoryRecord("The same"), MemoryMessage(HELD), threading.Event()

    class Looking(MemoryMessageStore):
        async def load(self):
            row = await super().load()
            if row.status is TurnStatus.STREAMING:
                waits.set()
            return row

    first, results = running(Turn(message, session_of(record), client, when_busy="cancel"))
    eventually(lambda: message.state.content)
    again = Turn(message, session_of(record), client, when_busy="cancel", store=Looking(message))
    second, others = running(again)
    assert waits.wait(60)
    held.set()
    for thread in (first, second):
        thread.join(60)
    ends = [(result.status, result.content) for result in (*results, *others)]
    assert ends == [(TurnStatus.COMPLETED, SAID)] * 2


def test_of_two_turns_that_both_cancel_one_is_completed_and_the_other_names_it(client, held):
    record, messages = MemoryRecord("Both"), [MemoryMessage(HELD), MemoryMessage(HELD)]
    started = [running(Turn(each, session_of(record), client, when_busy="cancel")) for each in messages]
    eventually(lambda: any(each.state.status is TurnStatus.CANCELLED for each in messages))
    held.set()
    for thread, _ in started:
        thread.join(60)
    (cut,) = (each for each in messages if each.state.status is TurnStatus.CANCELLED)
    (other,) = (each for each in messages if each is not cut)
    assert (other.state.status, other.state.content) == (TurnStatus.COMPLETED, SAID)
    assert cut.state.error["by"] == f"memory:{other.number}"


def test_a_turn_cancels_one_that_holds_the_record_and_was_not_begun(client):
    record, first, second = MemoryRecord("Not begun"), MemoryMessage("never"), MemoryMessage("now me")
    store = record.__opencode_store__(asynchronous=False)
    assert run_sync(store.claim(f"memory:{first.number}", LEASE)) is None  # and then its runner died
    result = Turn(second, session_of(record), client, when_busy="cancel").run()
    assert result.status is TurnStatus.COMPLETED
    assert first.state.status is TurnStatus.CANCELLED
    assert first.state.error["by"] == f"memory:{second.number}"


@pytest.mark.parametrize("holder", sample(["of_another_table:1", "memory:0"]))
def test_where_the_row_of_the_other_cannot_be_reached_its_session_is_aborted(client, holder):
    record = MemoryRecord("Out of reach")
    session = session_of(record)
    session_id = session.ensure(client)
    by_hand(client, session_id)
    assert run_sync(record.__opencode_store__(asynchronous=False).claim(holder, LEASE)) is None
    turn = Turn(MemoryMessage("now me"), session, client, when_busy="cancel")
    thread, results = running(turn)
    eventually(lambda: not client.busy(session_id))
    assert not results, "its lease is waited for"
    record.turn = None
    thread.join(60)
    assert results[0].status is TurnStatus.COMPLETED


@pytest.mark.full
def test_a_turn_that_was_cancelled_while_it_waited_cancels_nobody(client):
    record, first, second = MemoryRecord("In vain"), MemoryMessage(SLOW), MemoryMessage("never")
    thread, results = running(Turn(first, session_of(record), client))
    eventually(lambda: first.state.content)

    class CancelledAfterItsFirstLook(MemoryMessageStore):
        async def load(self):
            seen = await super().load()
            await self.cancel(seen, {"name": "Cancelled", "by": "ada"})  # which is refused from then on
            return seen

        def sibling(self, key):
            """That of another message cancels nothing."""
            return MemoryMessageStore(second).sibling(key)

    store = CancelledAfterItsFirstLook(second)
    turn = Turn(second, session_of(record), client, when_busy="cancel", store=store)
    assert turn.run().error["by"] == "ada"
    thread.join(60)
    assert (results[0].status, results[0].content) == (TurnStatus.COMPLETED, WORDS)


def test_who_has_lost_the_record_meanwhile_aborts_nothing_in_it(client):
    record = MemoryRecord("Lost")
    session = session_of(record)
    session_id = session.ensure(client)
    claim = RecordLock(
        session.lifecycle,
        "memory:1",
        when_busy="cancel",
        patience=30,
        lease=LEASE,
        release=Release(lambda: "memory:1"),
    )
    looks = iter(["another prompt", None])

    async def busy_with():
        return next(looks)

    assert run_sync(record.__opencode_store__(asynchronous=False).claim("memory:2", LEASE)) is None
    by_hand(client, session_id)
    assert run_sync(claim.until_free(blocking_wire(client), busy_with))
    assert client.busy(session_id)
    record.turn, looks = None, iter(["another prompt", None])
    assert run_sync(record.__opencode_store__(asynchronous=False).claim("memory:1", LEASE)) is None
    assert run_sync(claim.until_free(blocking_wire(client), busy_with))
    eventually(lambda: not client.busy(session_id))


@pytest.fixture
def ended(client):
    """A record, and the message of its turn, which has ended and still holds the record."""
    record, message = MemoryRecord("Ended"), MemoryMessage("hello")
    assert Turn(message, session_of(record), client).run().status is TurnStatus.COMPLETED
    assert run_sync(MemoryRecordStore(record).claim(f"memory:{message.number}", LEASE)) is None
    return record, message


def test_a_turn_that_has_ended_may_let_go_of_its_record_a_moment_later(client, ended, monkeypatch):
    monkeypatch.setattr(claim_module, "_SETTLE", 60.0)
    record, _ = ended
    looked = threading.Event()

    class Looking(MemoryMessageStore):
        def sibling(self, key):
            looked.set()
            return super().sibling(key)

    message = MemoryMessage("now me")
    thread, results = running(Turn(message, session_of(record), client, store=Looking(message)))
    assert looked.wait(60)
    record.turn = None
    thread.join(60)
    assert [result.status for result in results] == [TurnStatus.COMPLETED]


def test_a_turn_that_has_ended_and_does_not_let_go_is_not_waited_for_longer(client, ended, monkeypatch):
    monkeypatch.setattr(claim_module, "_SETTLE", 0.3)
    record, first = ended
    message = MemoryMessage("never")
    with pytest.raises(TurnInProgressError, match=f"memory:{first.number} is still"):
        Turn(message, session_of(record), client).run()
    assert message.state.status is TurnStatus.PENDING


def by_hand(client, session_id):
    """Somebody's prompt is being answered."""
    client.prompt(session_id, SLOWER, message_id=new_message_id())
    eventually(lambda: client.busy(session_id))


class Together(MemoryMessageStore):
    """All have seen the row before one takes it."""

    def __init__(self, message, barrier):
        super().__init__(message)
        self._barrier = barrier

    async def take(self, seen, lease):
        if seen.epoch == 0:
            self._barrier.wait(60)
        return await super().take(seen, lease)


@pytest.mark.parametrize("when_busy", sample(["wait", "cancel"]))
def test_one_message_that_many_run_in_the_same_instant_is_answered_once_and_all_have_the_answer(
    client, when_busy
):
    message, record, barrier = MemoryMessage("hello"), MemoryRecord("All at once"), threading.Barrier(4)
    session_of(record).ensure(client)

    def turn():
        store = Together(message, barrier)
        return Turn(message, session_of(record), client, when_busy=when_busy, store=store)

    threads, results = zip(*(running(turn()) for _ in range(4)), strict=True)
    for thread in threads:
        thread.join(60)
    assert [result.content for each in results for result in each] == ['You said: "hello".'] * 4
    assert message.state.epoch == 1


def test_one_message_that_two_run_in_the_same_instant_is_refused_to_one_as_being_run(client, held):
    message, record, barrier = MemoryMessage(HELD), MemoryRecord("Both at once"), threading.Barrier(2)
    session_of(record).ensure(client)
    refused = []

    def run():
        try:
            Turn(message, session_of(record), client, store=Together(message, barrier)).run()
        except TurnInProgressError as error:
            refused.append(error)
            held.set()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 1
    assert message.state.status is TurnStatus.COMPLETED


def test_who_has_waited_is_told_for_how_long(client, record_in_use):
    turn = Turn(
        MemoryMessage("and me"),
        session_of(record_in_use),
        client,
        when_busy="wait",
        deadlines=Deadlines(queue=0.2),
    )
    with pytest.raises(TurnInProgressError, match=r"was waited for, for 0\.2 s \(Deadlines\.queue\)"):
        turn.run()
