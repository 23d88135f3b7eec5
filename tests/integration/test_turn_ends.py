"""A turn ends, and its row tells the truth, whatever breaks in from outside."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import httpx2
import pytest
from fix_server import LEAN
from selection import sample
from turn_observers import AtFirstWord

from opencode_sessions import (
    IN_THE_ROW,
    Client,
    Deadlines,
    Observer,
    OpencodeServer,
    Session,
    Turn,
    aio,
    allow,
    ask,
    errors,
)
from opencode_sessions.protocol.events import PermissionAsked
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import DEFAULT_RULE, Refusal, Rule, Script, ScriptedModel, Step
from opencode_sessions.wire.detect import is_of_v2, is_supported

pytestmark = pytest.mark.lines

SLOW = "!slow 0.5\n!say " + "word " * 200  # for what is cut short
HELD = "!say one two three four five six"  # for what is let go on


def allow_all(_):
    return [allow("*")]


@pytest.fixture
def record():
    return MemoryRecord("An end")


def session_of(record, **more):
    return Session(record, **({"permissions_for": allow_all} | more))


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def test_ctrl_c_stops_the_agent_and_cancels_the_row(client, record):
    def interrupt():
        raise KeyboardInterrupt

    message = MemoryMessage(SLOW)
    with pytest.raises(KeyboardInterrupt):
        Turn(message, session_of(record), client, observer=AtFirstWord(interrupt)).run()
    assert message.state.status is TurnStatus.CANCELLED
    assert message.state.content.startswith("word")
    wait_until(lambda: not client.busy(record.opencode_session_id))


class Interrupted(httpx2.HTTPTransport):
    """Ctrl-C comes when a prompt was accepted."""

    def handle_request(self, request):
        response = super().handle_request(request)
        if request.url.path.endswith(("/prompt_async", "/prompt")):
            raise KeyboardInterrupt
        return response


@pytest.mark.usefixtures("stops_patiently")
def test_ctrl_c_as_the_prompt_is_sent_stops_what_was_sent(server, place, record):
    message, options = MemoryMessage(SLOW), {"directory": place.directory, "password": server.password}
    with (
        Client(server.url, transport=Interrupted(), **options) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        Turn(message, session_of(record), client).run()
    assert message.state.status is TurnStatus.CANCELLED
    assert place.message(record.opencode_session_id, message.state.prompt_id)
    wait_until(lambda: not place.busy(record.opencode_session_id))


def test_a_cancelled_task_stops_the_agent_and_cancels_the_row(server, record):
    message = MemoryMessage(SLOW)

    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            session = aio.Session(record, permissions_for=allow_all)
            running = asyncio.create_task(aio.Turn(message, session, client).run())
            while not message.state.content:  # noqa: ASYNC110 - nobody tells what is in the row
                await asyncio.sleep(0.02)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            while await client.busy(record.opencode_session_id):  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.05)

    asyncio.run(main())
    assert message.state.status is TurnStatus.CANCELLED


def test_a_snapshot_that_cannot_be_stored_is_reported_and_the_turn_goes_on(client, record):
    message, reported = MemoryMessage("!slow 0.1\n!say one two three four five six seven"), []
    store = MemoryMessageStore(message)
    original, failures = store.snapshot, [OSError("the database was elsewhere for a moment")]

    async def snapshot(epoch, state, lease):
        if failures:
            raise failures.pop()
        return await original(epoch, state, lease)

    store.snapshot = snapshot
    session = session_of(record, on_error=lambda *what: reported.append(what))
    result = Turn(message, session, client, store=store).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "one two three four five six seven")
    ((error, context),) = reported
    assert isinstance(error, OSError)
    assert context.action == "snapshot"


def test_an_end_that_cannot_be_stored_at_once_is_stored_a_little_later(client, record):
    message = MemoryMessage("hello")
    store = MemoryMessageStore(message)
    original, failures = store.finish, [OSError("the database fails over")] * 2

    async def finish(prompt_id, state):
        if failures:
            raise failures.pop()
        return await original(prompt_id, state)

    store.finish = finish
    result = Turn(message, session_of(record), client, store=store).run()
    assert result.status is message.state.status is TurnStatus.COMPLETED


def test_an_end_that_can_never_be_stored_is_raised_for_the_row_does_not_know_it(client, record, monkeypatch):
    monkeypatch.setattr("opencode_sessions.turns.store_result._PAUSES", (0.01,))
    message = MemoryMessage("hello")
    store = MemoryMessageStore(message)

    async def finish(prompt_id, state):
        raise OSError("the database is gone")

    store.finish = finish
    with pytest.raises(OSError, match="the database is gone"):
        Turn(message, session_of(record), client, store=store).run()
    assert message.state.status is TurnStatus.STREAMING


class Forgetful(httpx2.HTTPTransport):
    """Loses the answer to a prompt that has arrived."""

    def handle_request(self, request):
        response = super().handle_request(request)
        if request.url.path.endswith("/prompt_async"):
            response.read()
            raise httpx2.ReadTimeout("no answer in time", request=request)
        return response


def test_a_prompt_whose_acknowledgement_is_lost_is_followed_all_the_same(server, record):
    with Client(server.url, password=server.password, transport=Forgetful()) as client:
        result = Turn(MemoryMessage("did it arrive?"), session_of(record), client).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, 'You said: "did it arrive?".')


def test_a_session_that_is_busy_refuses_a_second_turn_which_stays_pending(client, record, held):
    first, second = MemoryMessage(HELD), MemoryMessage("me too")
    running = threading.Thread(target=Turn(first, session_of(record), client).run)
    running.start()
    wait_until(lambda: record.opencode_session_id and client.busy(record.opencode_session_id))
    with pytest.raises(errors.TurnInProgressError, match="still being answered"):
        Turn(second, session_of(record), client).run()
    assert second.state.status is TurnStatus.PENDING
    held.set()
    running.join(60)
    assert first.state.status is TurnStatus.COMPLETED
    assert Turn(second, session_of(record), client).run().status is TurnStatus.COMPLETED


@pytest.mark.full
def test_a_turn_whose_session_was_replaced_leaves_the_fresh_ones_answer_alone(client, record):
    stale = MemoryMessage(SLOW)
    running = threading.Thread(target=Turn(stale, session_of(record), client).run)
    running.start()
    wait_until(lambda: stale.state.content)
    session_of(record).recreate(client)
    fresh = MemoryMessage("!slow 0.1\n!say one two three four five")
    result = Turn(fresh, session_of(record), client, when_busy="wait").run()
    running.join(60)
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "one two three four five")
    assert stale.state.status in (TurnStatus.FAILED, TurnStatus.CANCELLED)


@pytest.mark.full
def test_a_quiet_tool_in_another_directory_than_the_clients_is_not_the_end(server, client, record, tmp_path):
    with Client(server.url, password=server.password, directory=str(tmp_path)) as maker:
        session_of(record).ensure(maker)
    prompt = '!tool bash {"command": "sleep 3", "description": "wait"}\n!say it is built'
    deadlines = Deadlines(look=0.5)
    result = Turn(MemoryMessage(prompt), session_of(record), client, deadlines=deadlines).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "it is built")


def test_a_busy_sub_agent_is_no_silence(client, record, hours, held):
    class SlowSpeaker(Observer):
        """An hour passes with every word of the sub-agent, which does not end before most of them were heard."""

        words = 0

        def changed(self, change, reply):
            said = change.part.progress.text.split() if change.part.progress else []
            if len(said) > self.words:
                self.words = len(said)
                hours.leap(3600)
            if self.words > 10:
                held.set()

    said = "word " * 30 + "five " + "word " * 30
    task = json.dumps({"description": "c", "subagent_type": "general", "prompt": f"!say {said}"})
    message, speaker = MemoryMessage(f"!tool task {task}\n!say counted"), SlowSpeaker()
    deadlines = Deadlines(silence=10 * 3600, total=1000 * 3600)
    result = Turn(message, session_of(record), client, observer=speaker, deadlines=deadlines).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "counted")
    assert speaker.words > 10


def test_a_rejected_permission_ends_the_turn_and_says_so(client, record):
    asking = session_of(record, permissions_for=lambda _: [ask("bash")])
    with client.subscribe(asking.ensure(client)) as events:
        rejecting = threading.Thread(target=reject_first, args=(client, events))
        rejecting.start()
        prompt = '!tool bash {"command": "echo hi", "description": "greet"}'
        result = Turn(MemoryMessage(prompt), asking, client, on_ask=IN_THE_ROW).run()
        rejecting.join(60)
    assert result.status is TurnStatus.FAILED
    assert result.error["name"] == "Stopped"
    assert result.tools[0]["status"] == "error"


def reject_first(client, events):
    for event in events:
        if isinstance(event, PermissionAsked):
            client.answer_permission(event.session_id, event.request_id, "reject")
            return


@pytest.mark.full
def test_a_turn_in_which_the_server_compacts_the_conversation_goes_on_to_its_answer(record):
    refused = []

    def too_long_once(_):
        refused.append(True)
        if len(refused) == 1:
            return Script(Step(trouble=Refusal(400, "prompt is too long: 250000 tokens > 200000 maximum")))
        return Script(Step(say="the answer after all"))

    rules = [
        Rule(when="conversation so far", reply=Script(Step(say="a summary"))),
        Rule(when="too much", reply=too_long_once),
        DEFAULT_RULE,
    ]
    with (
        ScriptedModel(rules) as model,
        OpencodeServer(config=model.config(), **LEAN) as server,
        Client(server.url, password=server.password) as client,
    ):
        Turn(MemoryMessage("hello"), session_of(record), client).run()
        result = Turn(MemoryMessage("too much"), session_of(record), client).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "the answer after all")


@pytest.mark.full
def test_a_server_that_is_killed_and_stays_away_ends_the_turn_and_says_why(own_server, record):
    server = own_server()
    with Client(server.url, password=server.password) as client:
        message = MemoryMessage(SLOW)
        turn = Turn(
            message,
            session_of(record, on_error=lambda *_: None),
            client,
            observer=AtFirstWord(server.kill),
            deadlines=Deadlines(unreachable=3, look=1),
        )
        result = turn.run()
    assert result.status is TurnStatus.FAILED
    assert result.error["name"] == "ServerUnreachableError"
    assert result.duration < 60
    assert message.state.content.startswith("word")


# -- what the row says of a failure ----------------------------------------------------------------------

AT_ONCE = 0.05  # seconds until the provider may be asked again
PROVIDER = {
    "unauthorized": (Refusal(401, "who are you?"), {"name": "APIError", "status": 401, "retryable": False}),
    "rate limit": (
        Refusal(429, "slow down", retry_after=AT_ONCE),
        {"name": "APIError", "status": 429, "retryable": True},
    ),
    "its own fault": (
        Refusal(500, "out of order", retry_after=AT_ONCE),
        {"name": "APIError", "status": 500, "retryable": True},
    ),
    "context overflow": (
        Refusal(400, "prompt is too long: 250000 tokens > 200000 maximum"),
        {"name": "ContextOverflowError"},
    ),
}


def gives_up(client):
    """Does this release ever stop asking a provider that may do better the next time?"""
    try:
        version = client.health().version
    except errors.UnsupportedVersionError as error:
        version = error.found
    return is_supported(version)


@pytest.mark.parametrize("kind", sample(PROVIDER, "rate limit"))
def test_a_provider_that_refuses_for_good_is_quoted_in_the_row(
    client, record, scripted_model, monkeypatch, kind
):
    refusal, said = PROVIDER[kind]
    if said.get("retryable") and not gives_up(client):
        pytest.skip("releases up to 1.18.10 try again without end: a deadline ends the turn")
    refusing = Rule(when=lambda request: not request.is_title, reply=Script(Step(trouble=refusal)))
    monkeypatch.setattr(scripted_model, "rules", (refusing,))
    message = MemoryMessage("anybody there?")
    result = Turn(message, session_of(record), client).run()
    assert message.state.status is result.status is TurnStatus.FAILED
    told = {name: value for name, value in result.error.items() if name in {"message", *said}}
    assert message.state.error == result.error
    assert told == {**said, "message": refusal.message} or is_of_v2(client.health().version)
    assert (message.state.content, message.state.parts) == ("", ())


@pytest.mark.parametrize("thought", sample(["", "I wonder"]), ids=["nothing at all", "only a thought"])
def test_a_model_that_says_nothing_has_failed(client, record, scripted_model, monkeypatch, thought):
    mute = Rule(when=lambda _: True, reply=Script(Step(reason=thought, say="")))
    monkeypatch.setattr(scripted_model, "rules", (mute,))
    message = MemoryMessage("anybody there?")
    result = Turn(message, session_of(record), client).run()
    assert (result.status, result.error["name"]) == (TurnStatus.FAILED, "EmptyAnswer")
    assert message.state.error == result.error
    assert [part["text"] for part in message.state.parts] == list(filter(None, [thought]))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [(SLOW, "word"), pytest.param("!slow 600\n!say x", "", marks=pytest.mark.full)],
    ids=["as it speaks", "as it is silent"],
)
def test_a_session_that_is_deleted_under_the_answer_fails_it_and_keeps_what_came(
    client, record, prompt, said
):
    class Vandal(Observer):
        busy = deleting = False

        def status(self, status):
            self.busy = self.busy or status.status == "busy"
            self.look("")

        def changed(self, change, reply):
            self.look(reply.text)

        def look(self, text):
            if self.busy and text.startswith(said) and not self.deleting:
                self.deleting = True
                threading.Timer(1.0, lambda: client.delete(record.opencode_session_id)).start()

    message = MemoryMessage(prompt)
    turn = Turn(message, session_of(record), client, observer=Vandal(), deadlines=Deadlines(look=0.5))
    result = turn.run()
    assert (result.status, result.error["name"]) == (TurnStatus.FAILED, "SessionNotFoundError")
    assert message.state.content.startswith(said)
    assert message.state.error == result.error


# -- the fallback ----------------------------------------------------------------------------------------

REFUSED = "!error 401 who are you?"


@pytest.mark.parametrize(
    ("fallback", "said"),
    [
        pytest.param("Sorry.", "Sorry.", marks=pytest.mark.full),
        pytest.param(
            lambda error: f"Sorry: {error['name']} {error['status']}.",
            "Sorry: APIError 401.",
            marks=pytest.mark.full,
        ),
        (lambda error: error["message"] + " \x00", "who are you? \ufffd"),
    ],
    ids=["a text", "a function of the error", "what no database stores"],
)
def test_a_turn_that_failed_without_a_word_says_the_fallback_and_keeps_its_error(
    client, record, fallback, said
):
    message = MemoryMessage(REFUSED)
    result = Turn(message, session_of(record), client, fallback=fallback).run()
    assert (result.status, result.content) == (TurnStatus.FAILED, said)
    assert (message.state.content, message.state.error["name"]) == (said, "APIError")
    assert message.state.parts == ()
    again = Turn(message, session_of(record), client).run()
    assert again.content == said


@pytest.mark.full
def test_what_was_said_before_it_failed_is_not_replaced_by_the_fallback(client, record, hours):
    result = Turn(
        MemoryMessage(SLOW),
        session_of(record),
        client,
        fallback="Sorry.",
        observer=AtFirstWord(lambda: hours.leap(3600)),
        deadlines=Deadlines(total=3600),
    ).run()
    assert result.status is TurnStatus.FAILED
    assert result.content.startswith("word")


@pytest.mark.full
def test_a_fallback_is_for_failures_only(client, record):
    def unwanted(error):
        raise AssertionError(error)

    completed = Turn(MemoryMessage("hello"), session_of(record), client, fallback=unwanted).run()
    assert (completed.status, completed.content) == (TurnStatus.COMPLETED, 'You said: "hello".')
    message = MemoryMessage("!slow 600\n!say x")
    running = Turn(message, session_of(record), client, fallback=unwanted)
    thread = threading.Thread(target=running.run)
    thread.start()
    wait_until(lambda: client.busy(record.opencode_session_id))
    Turn(message, session_of(record), client, fallback=unwanted).cancel()
    thread.join(60)
    assert (message.state.status, message.state.content) == (TurnStatus.CANCELLED, "")


def failing(error):
    raise ZeroDivisionError


@pytest.mark.parametrize("fallback", sample([failing, lambda _: None]), ids=["raises", "gives no text"])
def test_a_fallback_that_fails_is_reported_and_the_turn_has_its_end(client, record, fallback):
    message, reported = MemoryMessage(REFUSED), []
    session = session_of(record, on_error=lambda *what: reported.append(what))
    result = Turn(message, session, client, fallback=fallback).run()
    assert (result.status, result.content) == (TurnStatus.FAILED, "")
    assert message.state.error["name"] == "APIError"
    ((_, context),) = reported
    assert context.session_id == result.session_id
