"""A turn that runs here hears at once what another process does to its row."""

from __future__ import annotations

import threading

import pytest
from fix_django_app import wait_until

from opencode_sessions import Session, Turn, allow
from opencode_sessions.live.notes import RowWritten
from opencode_sessions.live.notifiers import notifier_at
from opencode_sessions.live.relay import Relay
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import RowKey

KEY = RowKey("messages", "1", "default")


@pytest.fixture
def relays(valkey):
    """Two, of two processes."""
    notifier = notifier_at(valkey())
    made = [Relay(notifier, Threads()) for _ in range(2)]
    yield made
    for relay in made:
        run_sync(relay.close())


def test_a_turn_whose_row_is_cancelled_elsewhere_ends_here_though_its_agent_says_nothing(
    client, held, relays
):
    here, there = relays
    message = MemoryMessage("!say one two three four five six")
    session = Session(MemoryRecord("A turn that is cancelled"), permissions_for=[allow("*")])
    turn, results = Turn(message, session, client), []

    def run():
        with here.steering(KEY, turn.row_written):
            results.append(turn.run())

    runner = threading.Thread(target=run)
    runner.start()
    wait_until(lambda: "four" in message.state.content)
    store = there.teller(KEY).store(message.__opencode_store__(asynchronous=False))
    assert run_sync(store.cancel(run_sync(store.load()), {"name": "Cancelled", "by": "ada", "message": ""}))
    runner.join(30)  # it looks by itself at a third of its lease: after 40 s
    assert [result.status for result in results] == [TurnStatus.CANCELLED]
    assert not held.is_set()
    held.set()


def test_a_turn_goes_on_though_it_is_told_again_and_again_that_its_row_was_written(client, relays):
    here, there = relays
    message = MemoryMessage("!slow 0.02\n!say one two three four five six seven eight")
    session = Session(MemoryRecord("A turn that is told"), permissions_for=[allow("*")])
    turn, ended = Turn(message, session, client), threading.Event()

    def tell():
        while not ended.wait(0.01):
            there.tell(KEY, RowWritten())

    telling = threading.Thread(target=tell)
    telling.start()
    try:
        with here.steering(KEY, turn.row_written):
            result = turn.run()
    finally:
        ended.set()
        telling.join()
    assert result.status is TurnStatus.COMPLETED
    assert message.state.content == "one two three four five six seven eight"
