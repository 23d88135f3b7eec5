"""A turn on the real server: what streams, what is stored, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time

import httpx2
import pytest
from fix_cli import eventually
from selection import sample

from opencode_sessions import Client, Deadlines, Observer, Session, Turn, aio, allow, errors
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.exchange import read_exchange

pytestmark = pytest.mark.lines

LONG = "!slow 0.5\n!say " + "word " * 200  # for what is cut short


def allow_all(_):
    return [allow("*")]


@pytest.fixture
def session():
    return Session(MemoryRecord("A turn"), permissions_for=allow_all)


class Diary(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.lines = []
        self.text = ""
        self.moments = []

    def started(self, session_id, prompt_id):
        self.lines.append(("started", session_id, prompt_id))

    def changed(self, change, reply):
        self.lines.append(("changed", change.part.type, change.part.status))
        self.moments.append(time.monotonic())
        if change.part.type == "text":
            self.text += change.delta

    def status(self, status):
        self.lines.append(("status", status.status))

    def gap(self, reason):
        self.lines.append(("gap", reason))

    def finished(self, result):
        self.lines.append(("finished", result.status))


def test_the_answer_streams_and_is_stored(client, session):
    message, diary = MemoryMessage("good morning"), Diary()
    result = Turn(message, session, client, observer=diary).run()
    assert result.status is TurnStatus.COMPLETED
    assert result.content == diary.text == 'You said: "good morning".'
    assert diary.lines[0] == ("started", result.session_id, result.prompt_id)
    assert diary.lines[-1] == ("finished", TurnStatus.COMPLETED)
    assert sum(line[0] == "changed" for line in diary.lines) > 2
    state = message.state
    assert (state.status, state.content, state.prompt_id) == ("completed", result.content, result.prompt_id)
    assert state.cost > 0
    assert state.input_tokens > 0
    assert state.output_tokens > 0
    assert state.error is None
    assert 0 < result.first_token < result.duration
    assert result.just_created
    json.dumps(state.parts)


def test_the_second_turn_knows_the_first(client, session):
    Turn(MemoryMessage("my name is Ada"), session, client).run()
    result = Turn(MemoryMessage("who am I?"), session, client).run()
    assert "my name is Ada" in result.content
    assert not result.just_created


def test_a_tool_writes_a_file_and_its_call_is_a_part(client, session, server):
    prompt = '!reason I should write it down\n!tool write {"filePath": "notes/a.txt", "content": "hello"}'
    result = Turn(MemoryMessage(prompt), session, client).run()
    assert result.status is TurnStatus.COMPLETED
    assert [part["type"] for part in result.parts] == ["reasoning", "tool", "text"]
    (call,) = result.tools
    assert (call["tool"], call["status"]) == ("write", "completed")
    assert call["input"] == {"filePath": "notes/a.txt", "content": "hello"}
    assert (server.directory / "notes" / "a.txt").read_text() == "hello"


def test_what_was_folded_from_events_equals_what_is_stored(client, session):
    class Last(Observer):
        def changed(self, change, reply):
            self.reply = reply

    last = Last()
    greet = '{"command": "echo hi", "description": "greet"}'
    prompt = f'!reason hm\n!tool todowrite {{"todos": []}}\n!and bash {greet}\n!say done'
    result = Turn(MemoryMessage(prompt), session, client, observer=last).run()
    stored = asyncio.run(_read(client, result))
    assert last.reply.to_json() == stored.to_json() == list(result.parts)
    assert (last.reply.cost, last.reply.tokens) == (stored.cost, stored.tokens)


async def _read(client, result):
    messages = await read_exchange(client._core, result.session_id, result.prompt_id)
    return Reply.of(result.session_id, result.prompt_id, messages)


def test_snapshots_are_stored_on_the_way_but_not_for_every_delta(client, session):
    message = MemoryMessage("!slow 0.05\n!say one two three four five six seven eight nine ten eleven twelve")
    store, diary = MemoryMessageStore(message), Diary()
    snapshots, beats = [], []
    original = store.snapshot

    async def snapshot(epoch, state, lease):
        snapshots.append(state.content)
        beats.append(time.monotonic() // 0.25)
        return await original(epoch, state, lease)

    store.snapshot = snapshot
    result = Turn(message, session, client, observer=diary, store=store).run()
    assert 1 <= len(snapshots) < len(diary.moments)
    assert all(result.content.startswith(content) for content in snapshots)
    assert len(set(beats)) == len(beats), "at most four times a second"


def test_a_turn_that_heard_where_its_session_works_does_not_ask(client, session, carried):
    result = Turn(MemoryMessage("once"), session, client).run()
    assert carried
    asked = f"/session/{result.session_id}"
    assert not [each for each in carried if each.startswith("GET") and each.endswith(asked)]


def test_a_turn_that_has_ended_is_answered_from_its_row(client, session, carried):
    message = MemoryMessage("once")
    first = Turn(message, session, client).run()
    carried.clear()
    again = Turn(message, session, client).run()
    assert carried == []
    assert (again.status, again.content, again.prompt_id) == (first.status, first.content, first.prompt_id)


def test_a_turn_that_is_running_is_not_run_again(client, session, held):
    message = MemoryMessage("!say one two three four five")
    running = threading.Thread(target=Turn(message, session, client).run)
    running.start()
    while message.state.status is TurnStatus.PENDING:
        time.sleep(0.01)
    with pytest.raises(errors.TurnInProgressError):
        Turn(message, session, client).run()
    held.set()
    running.join(60)
    assert message.state.status is TurnStatus.COMPLETED


def test_a_provider_error_fails_the_turn_with_its_name_and_status(client, session):
    result = Turn(MemoryMessage("!error 400 the model is on holiday"), session, client).run()
    assert result.status is TurnStatus.FAILED
    assert result.error["name"] == "APIError"
    assert result.error["status"] == 400
    assert "on holiday" in result.error["message"]


def test_a_rate_limit_is_waited_out_and_shown(client, session):
    diary = Diary()
    result = Turn(MemoryMessage("!rate-limit 1\n!say at last"), session, client, observer=diary).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "at last")
    assert ("status", "retry") in diary.lines


def test_an_abort_from_elsewhere_cancels_and_keeps_the_partial_text(client, session):
    class AbortAtFirst(Observer):
        def changed(self, change, reply):
            if len(reply.text) > 3 and not self.aborted:
                self.aborted = True
                threading.Thread(target=session.abort, args=(client,)).start()

        aborted = False

    message = MemoryMessage(LONG)
    result = Turn(message, session, client, observer=AbortAtFirst()).run()
    assert result.status is TurnStatus.CANCELLED
    assert result.content.startswith("word")
    assert result.content.count("word") < 200
    assert message.state.status is TurnStatus.CANCELLED


def test_an_abort_while_the_provider_is_waited_for_cancels_too(client, session):
    class AbortAtRetry(Observer):
        def status(self, status):
            if status.status == "retry":
                threading.Thread(target=session.abort, args=(client,)).start()

    result = Turn(MemoryMessage("!rate-limit 600"), session, client, observer=AbortAtRetry()).run()
    assert result.status is TurnStatus.CANCELLED
    assert (result.error["name"], result.error["by"]) == ("Cancelled", "server")
    assert result.duration < 60


@pytest.mark.parametrize(
    "options", sample([{"agent": "nobody"}, {"model": "no/such"}]), ids=["agent", "model"]
)
def test_an_unknown_agent_or_model_fails_soon_though_no_idle_comes(client, session, options):
    result = Turn(MemoryMessage("hello"), session, client, **options).run()
    assert result.status is TurnStatus.FAILED
    assert re.search("not found|unavailable", result.error["message"])
    assert result.duration < 60


def test_a_session_that_is_gone_is_replaced_and_the_prompt_sent_once_more(client, session):
    stale = session.ensure(client)
    client.delete(stale)
    message = MemoryMessage("still there?")
    result = Turn(message, session, client).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, 'You said: "still there?".')
    assert result.session_id not in (None, stale)
    assert result.just_created
    assert message.state.prompt_id == result.prompt_id
    assert client.get(result.session_id).rules


def test_a_session_that_is_gone_twice_ends_the_turn_as_stale(client, session):
    class Vandal(Observer):
        def started(self, session_id, prompt_id):
            client.delete(session_id)

    result = Turn(MemoryMessage("hello?"), session, client, observer=Vandal()).run()
    assert result.status is TurnStatus.FAILED
    assert result.error["name"] == "StaleSessionError"


def test_a_prompt_id_is_stored_before_the_prompt_is_sent(client, session):
    message = MemoryMessage("hello")

    class Look(Observer):
        def started(self, session_id, prompt_id):
            self.stored = (message.state.status, message.state.prompt_id)
            self.told = (TurnStatus.STREAMING, prompt_id)

    look = Look()
    result = Turn(message, session, client, observer=look).run()
    assert look.stored == look.told
    assert client.message(result.session_id, result.prompt_id).info.role == "user"


def test_an_observer_that_raises_is_reported_and_the_turn_goes_on(client):
    reported = []

    class Clumsy(Observer):
        def finished(self, result):
            raise ZeroDivisionError

    session = Session(MemoryRecord("x"), on_error=lambda *what: reported.append(what))
    result = Turn(MemoryMessage("hello"), session, client, observer=Clumsy()).run()
    assert result.status is TurnStatus.COMPLETED
    ((error, context),) = reported
    assert isinstance(error, ZeroDivisionError)
    assert (context.action, context.session_id) == ("observe", result.session_id)


def test_a_server_that_is_not_there_leaves_the_message_pending(session):
    message = MemoryMessage("hello")
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(errors.ServerUnreachableError):
        Turn(message, session, nobody).run()
    assert message.state.status is TurnStatus.PENDING


class WithoutEvents(httpx2.HTTPTransport):
    """Reaches everything but the event stream."""

    def handle_request(self, request):
        if request.url.path in ("/global/event", "/api/event"):
            raise httpx2.ConnectError("refused", request=request)
        return super().handle_request(request)


def test_a_stream_that_cannot_be_opened_leaves_the_message_pending(server, session):
    message = MemoryMessage("hello")
    with (
        Client(server.url, password=server.password, transport=WithoutEvents()) as client,
        pytest.raises(errors.ServerUnreachableError),
    ):
        Turn(message, session, client).run()
    assert message.state.status is TurnStatus.PENDING


def test_a_deadline_fails_the_turn_stops_the_model_and_keeps_what_came(client, session, hours):
    class LateAtFirst(Observer):
        def changed(self, change, reply):
            if reply.text:
                hours.leap(3600)

    message = MemoryMessage(LONG)
    result = Turn(message, session, client, observer=LateAtFirst(), deadlines=Deadlines(total=3600)).run()
    assert result.status is TurnStatus.FAILED
    assert result.error["name"] == "TotalTimeoutError"
    assert result.content.startswith("word")
    assert eventually(lambda: result.session_id not in client.status())


@pytest.mark.full
def test_a_turn_over_which_the_server_died_is_resumed_when_it_is_back(own_server):
    server = own_server()
    with Client(server.url, password=server.password) as client:
        session = Session(MemoryRecord("x"), permissions_for=allow_all)

        class Killer(Observer):
            gaps = 0

            def changed(self, change, reply):
                if reply.text and not self.killed:
                    self.killed = True
                    server.kill()
                    server.restart()

            def gap(self, reason):
                self.gaps += 1

            killed = False

        killer = Killer()
        # Long enough that it is not over before the server is killed, on a busy machine too.
        message = MemoryMessage("!slow 0.5\n!say one two three four five six seven eight")
        # No look of its own accord: only the gap tells.
        result = Turn(message, session, client, observer=killer, deadlines=Deadlines(look=60)).run()
    assert killer.gaps >= 1
    assert (result.status, result.content) == (
        TurnStatus.COMPLETED,
        "one two three four five six seven eight",
    )
    assert message.state.content == result.content


def test_the_async_face_runs_many_turns_over_one_client(server):
    async def main():
        async with aio.Client(server.url, password=server.password) as client:

            async def one(number):
                session = aio.Session(MemoryRecord(f"turn {number}"), permissions_for=allow_all)
                return await aio.Turn(MemoryMessage(f"number {number}"), session, client).run()

            return await asyncio.gather(*map(one, range(12)))

    results = asyncio.run(main())
    assert [result.content for result in results] == [f'You said: "number {n}".' for n in range(12)]


def test_a_client_of_the_wrong_face_is_refused_with_what_to_do(server, session):
    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            with pytest.raises(
                errors.ConfigurationError, match=r"Session and Turn of opencode_sessions\.aio"
            ):
                session.ensure(client)
        with pytest.raises(errors.ConfigurationError, match=r"Session and Turn of opencode_sessions"):
            await aio.Session(MemoryRecord()).ensure(Client(server.url))

    asyncio.run(main())


def test_a_message_that_is_none_is_said_with_what_to_do(client, session):
    with pytest.raises(errors.ConfigurationError, match="MessageMixin"):
        Turn(object(), session, client)
