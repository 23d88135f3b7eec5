"""A runner that was stopped (SIGSTOP) before it sent its prompt, and goes on when its turn has long ended."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fix_cli import eventually
from turn_runners import run_turn

from opencode_sessions import Deadlines, Observer, Session, Turn, TurnInProgressError
from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord, MemoryRecordStore
from opencode_sessions.store.messages import TurnStatus

SAID = "one two three four five six"


@pytest.fixture
def rows(make_bench):
    return make_bench("sqlalchemy-sqlite-sync")


def run_here(rows, server, message, record):
    options = {"when_busy": "wait", "deadlines": Deadlines(lease=2)}
    return rows.run(run_turn(rows, (server.url, server.password), message, record, **options))


def stopped_before_sending(rows, server, runners, stops):
    """A message whose runner is stopped before it sends the prompt, its record, and the process id of that runner."""
    record, message = rows.record("Stopped"), rows.message("hello")
    runner = runners.start(rows, server, message, record, lease=1, stops=stops)
    state = Path(f"/proc/{runner}/stat")
    eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", 30)
    return record, message, runner


def ended_elsewhere(rows, server, record, message):
    """Another runner ends the stopped one's turn, and the next turn of the record is run, too."""
    result = run_here(rows, server, rows.another(message), rows.another(record))
    assert (result.status, result.content) == (TurnStatus.COMPLETED, 'You said: "hello".')
    after = run_here(rows, server, rows.message(f"!say {SAID}"), rows.another(record))
    assert after.content == SAID
    return result.session_id


def test_a_runner_that_was_stopped_before_it_sends_does_not_send_what_another_has_ended(
    rows, server, runners, client
):
    record, message, runner = stopped_before_sending(rows, server, runners, "before the check")
    session_id = ended_elsewhere(rows, server, record, message)
    before = [each.info.id for each in client.messages(session_id)]
    runners.resume(runner)
    assert not client.busy(session_id)
    assert [each.info.id for each in client.messages(session_id)] == before


def test_a_prompt_that_is_sent_after_the_end_of_its_turn_is_stopped_by_its_runner(
    rows, server, runners, client, held
):
    held.set()
    record, message, runner = stopped_before_sending(rows, server, runners, "after the check")
    session_id = ended_elsewhere(rows, server, record, message)
    held.clear()  # what the model is asked now has no end
    runners.resume(runner)
    assert not client.busy(session_id)
    newest = next(iter(client.messages(session_id)))
    assert newest.info.parent_id == rows.row(message)["opencode_prompt_id"], "the late prompt did nothing"
    assert newest.info.error["name"] == "MessageAbortedError"


def resume_within_the_next_turn(rows, server, record, *, runners, runner, held):
    """The record's next turn runs when a runner goes on that was stopped, and is completed all the same."""
    after, results = rows.message(f"!say {SAID}"), []
    running = threading.Thread(
        target=lambda: results.append(run_here(rows, server, after, rows.another(record)))
    )
    running.start()
    eventually(lambda: "four" in rows.row(after)["content"])
    runners.resume(runner)
    held.set()
    running.join(60)
    assert (results[0].status, results[0].content) == (TurnStatus.COMPLETED, SAID)


@pytest.mark.full
def test_a_prompt_that_is_sent_late_into_the_next_turn_does_not_stop_that_one(
    rows, server, runners, client, held
):
    record, message, runner = stopped_before_sending(rows, server, runners, "after the check")
    assert run_here(rows, server, rows.another(message), rows.another(record)).content == 'You said: "hello".'
    resume_within_the_next_turn(rows, server, record, runners=runners, runner=runner, held=held)


def test_a_runner_that_lost_the_lock_while_it_was_stopped_does_not_send_into_the_next_turn(
    rows, server, runners, held
):
    record, message, runner = stopped_before_sending(rows, server, runners, "before the check")
    resume_within_the_next_turn(rows, server, record, runners=runners, runner=runner, held=held)
    assert rows.row(message)["status"] == TurnStatus.PENDING
    later = run_here(rows, server, rows.another(message), rows.another(record))
    assert later.content.startswith('You said: "hello".')


class LosesTheLock(Observer):
    """Another turn takes the record's lock, because the lease has expired."""

    def __init__(self, record):
        self.record = record

    def started(self, session_id, prompt_id):
        self.record.turn = None
        assert run_sync(MemoryRecordStore(self.record).claim("messages:0", 300)) is None

    def locate(self, record):
        """The files of the turn, which take so long that the lock is lost."""
        self.started("", "")
        return tuple


@pytest.mark.parametrize("when", ["at the start", "while the files are prepared"])
def test_a_turn_whose_lock_is_lost_before_the_prompt_is_sent_stays_pending(client, when):
    record, message = MemoryRecord("Lost"), MemoryMessage("hello")
    loses = LosesTheLock(record)
    options = {"observer": loses} if when == "at the start" else {"files": loses}
    with pytest.raises(TurnInProgressError, match="another turn took the lock"):
        Turn(message, Session(record), client, **options).run()
    assert message.state.status is TurnStatus.PENDING
    assert message.state.prompt_id is None
    assert [*client.messages(record.opencode_session_id)] == []


def test_a_recovered_turn_whose_lock_is_lost_is_abandoned_to_the_next_runner_with_its_prompt_id(client):
    record, message = MemoryRecord("Lost"), MemoryMessage("hello")
    session_id = Session(record).ensure(client)
    store = MemoryMessageStore(message)
    assert run_sync(store.take(message.state, 0))
    assert run_sync(store.set_prompt_target(1, session_id, prompt_id := new_message_id()))
    run_sync(store.extend(1, 0))
    with pytest.raises(TurnInProgressError, match="another turn took the lock"):
        Turn(message, Session(record), client, observer=LosesTheLock(record)).run()
    assert (message.state.status, message.state.abandoned) == (TurnStatus.STREAMING, True)
    assert message.state.prompt_id == prompt_id
    assert [*client.messages(session_id)] == []
