"""A turn is cancelled from any process, and one runs at a time for a record: on the real server."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress

import httpx2
import pytest

from opencode_sessions import IN_THE_ROW, Client, Session, Turn, allow, ask, errors
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

WORDS = 400
SLOW = "!slow 0.15\n!say " + " ".join(f"word{number}" for number in range(WORDS))  # for what is cut short
LAST = f"word{WORDS - 1}"


@pytest.fixture
def record():
    return MemoryRecord("A turn that is cancelled")


def turn_of(message, record, client, *rules, **options):
    session = Session(record, permissions_for=lambda _: [allow("*"), *rules])
    return Turn(message, session, client, **options)


def running(turn):
    results = []
    thread = threading.Thread(target=lambda: results.append(turn.run()))
    thread.start()
    return thread, results


def dying(turn):
    """As `running`, of a runner that is to lose its turn."""

    def run():
        with suppress(errors.TurnTakenError):  # unless the turn is cancelled before it notices
            turn.run()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_cancelled_turn_keeps_what_was_said_and_its_runner_says_so_too(client, record):
    message = MemoryMessage(SLOW)
    thread, results = running(turn_of(message, record, client))
    until(lambda: "word2" in message.state.content)
    assert turn_of(message, record, client).cancel(by="ada") is True
    thread.join(60)
    assert results[0].status is TurnStatus.CANCELLED
    assert (message.state.error["name"], message.state.error["by"]) == ("Cancelled", "ada")
    assert message.state.content.startswith("word0 word1 word2")
    assert LAST not in message.state.content
    until(lambda: not client.busy(record.opencode_session_id))
    assert turn_of(message, record, client).cancel() is False
    assert turn_of(message, record, client).run().status is TurnStatus.CANCELLED


def test_a_cancel_that_came_first_stands_and_nothing_is_sent(client, carried, record):
    message = MemoryMessage("never")
    assert turn_of(message, record, client).cancel() is True
    result = turn_of(message, record, client).run()
    assert result.status is TurnStatus.CANCELLED
    assert carried == []


def test_a_cancel_in_the_instant_of_sending_stops_what_was_sent(client, record):
    message = MemoryMessage(SLOW)

    class Cancelling:
        """A line on which the cancel overtakes the prompt."""

        def __getattr__(self, name):
            return getattr(client._core, name)

        async def prompt(self, *args, **kwargs):
            assert turn_of(message, record, client).cancel()
            await client._core.prompt(*args, **kwargs)

    result = run_sync(turn_of(message, record, client)._core.run(Cancelling()))
    assert result.status is TurnStatus.CANCELLED
    until(lambda: not client.busy(record.opencode_session_id))


def test_a_turn_whose_runner_is_dead_can_be_cancelled(client, record):
    message = MemoryMessage(SLOW)
    thread = dying(turn_of(message, record, client))
    until(lambda: message.state.content)
    message.row["opencode_turn_epoch"] += 1  # the runner will never write again
    turn_of(message, record, client).cancel()
    thread.join(60)
    until(lambda: not client.busy(record.opencode_session_id))
    assert message.state.status is TurnStatus.CANCELLED


def test_a_cancel_rejects_what_the_agent_asks(client, record):
    message = MemoryMessage('!tool bash {"command": "echo hi", "description": "greet"}')
    turn = turn_of(message, record, client, ask("bash"), on_ask=IN_THE_ROW)
    thread, results = running(turn)
    until(lambda: message.state.asks)
    turn_of(message, record, client).cancel()
    thread.join(60)
    assert results[0].status is TurnStatus.CANCELLED
    assert message.state.asks == ()
    assert client.pending_asks(record.opencode_session_id) == []


def test_a_cancel_stops_the_sub_agents_too(client, record):
    asked = json.dumps({"description": "d", "subagent_type": "general", "prompt": SLOW})
    message = MemoryMessage(f"!tool task {asked}\n!say back")
    thread, results = running(turn_of(message, record, client))
    until(lambda: any((part.get("progress") or {}).get("text") for part in message.state.parts))
    (child,) = client.children(record.opencode_session_id)
    assert client.busy(child.id)
    assert turn_of(message, record, client).cancel(by="ada")
    until(lambda: not client.busy(child.id))
    thread.join(60)
    assert results[0].status is TurnStatus.CANCELLED
    said = [part["text"] for each in client.messages(child.id) for part in each.parts if "text" in part]
    assert not any(LAST in text for text in said if SLOW not in text)


def test_the_next_turn_does_not_wait_for_the_lease_of_one_that_was_cancelled(client, record):
    first = MemoryMessage(SLOW)
    thread, _ = running(turn_of(first, record, client))
    until(lambda: first.state.content)
    turn_of(first, record, client).cancel()
    thread.join(60)
    assert turn_of(MemoryMessage("now me"), record, client).run().status is TurnStatus.COMPLETED


@pytest.mark.full
def test_an_abort_that_is_sent_again_does_not_stop_the_turn_that_comes_next(server, client, record):
    first, second = MemoryMessage(SLOW), MemoryMessage("!slow 0.15\n!say " + "word " * 20)
    thread = dying(turn_of(first, record, client))
    until(lambda: first.state.content)
    first.row["opencode_turn_epoch"] += 1  # its runner is dead, and so is its claim
    record.turn = None
    followers = []

    class LosingOneAnswer(httpx2.HTTPTransport):
        def handle_request(self, request):
            answer = super().handle_request(request)
            if request.url.path.endswith("/abort") and not followers:
                followers.append(running(turn_of(second, record, client, when_busy="wait")))
                time.sleep(1)
                raise httpx2.ReadError("the answer is lost")
            return answer

    with Client(server.url, password=server.password, transport=LosingOneAnswer()) as elsewhere:
        assert turn_of(first, record, elsewhere).cancel()
    ((follower, results),) = followers
    thread.join(60)
    follower.join(60)
    assert (results[0].status, results[0].error) == (TurnStatus.COMPLETED, None)


def test_the_second_turn_of_a_record_cancels_the_first_if_it_says_so(client, record):
    first, second = MemoryMessage(SLOW), MemoryMessage("now me")
    thread, results = running(turn_of(first, record, client))
    until(lambda: first.state.content)
    result = turn_of(second, record, client, when_busy="cancel").run()
    thread.join(60)
    assert result.status is TurnStatus.COMPLETED
    assert result.content.startswith('You said: "now me".')
    assert results[0].status is TurnStatus.CANCELLED
    assert first.state.content.startswith("word0")


@pytest.mark.full
def test_turns_that_start_in_the_same_instant_run_one_after_the_other(client, record):
    messages = [MemoryMessage(f"!slow 0.05\n!say number {number}") for number in range(4)]
    started = [running(turn_of(message, record, client, when_busy="wait")) for message in messages]
    for thread, _ in started:
        thread.join(60)
    assert [message.state.content for message in messages] == [f"number {number}" for number in range(4)]
    found = list(client.messages(record.opencode_session_id))
    assert [message.info.role for message in found] == ["assistant", "user"] * 4


def test_one_that_is_not_to_wait_is_refused_and_stays_pending(client, record):
    first, second = MemoryMessage(SLOW), MemoryMessage("me too")
    thread, _ = running(turn_of(first, record, client))
    until(lambda: first.state.content)
    with pytest.raises(errors.TurnInProgressError, match="when_busy"):
        turn_of(second, record, client).run()
    assert second.state.status is TurnStatus.PENDING
    turn_of(first, record, client).cancel()
    thread.join(60)


def test_what_is_none_of_the_three_is_refused(client, record):
    with pytest.raises(errors.ConfigurationError, match="wait, reject, cancel"):
        turn_of(MemoryMessage("x"), record, client, when_busy="queue")


@pytest.mark.full
def test_what_a_cancelled_turn_waited_for_is_rejected_though_the_server_cannot_list_it(place, record):
    message, reported = MemoryMessage('!tool webfetch {"url": "http://127.0.0.1:9/", "format": "text"}'), []

    def turn():
        session = Session(
            record,
            permissions_for=lambda _: [ask("webfetch")],
            on_error=lambda _, context: reported.append(context),
        )
        return Turn(message, session, place, on_ask=IN_THE_ROW)

    thread, _ = running(turn())
    until(lambda: message.state.asks)
    (waiting,) = message.state.asks
    with pytest.raises(errors.BadRequestError, match="undefined"):
        place.pending_permissions()  # the server cannot write the ask's metadata (1.18.33)
    assert turn().cancel()
    thread.join(60)
    assert [context.action for context in reported] == ["reject_asks"]  # that there may be others, which stay
    assert place.pending_permissions() == []
    with pytest.raises(errors.NotFoundError):
        place.answer_permission(waiting["session_id"], waiting["id"], "once")
