"""Each deadline ends a turn, and the row tells which one and after how many seconds: on the real server."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import httpx2
import pytest
from fix_cli import eventually

from opencode_sessions import Answer, Client, Deadlines, Observer, Session, Timeouts, Turn, aio, allow, ask
from opencode_sessions.protocol.events import Heartbeat
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import FaultProxy

MUTE = "!slow 600\n!say x"
SLOW = "!slow 0.5\n!say " + "word " * 200
HOUR = 3600.0


@pytest.fixture(scope="module", autouse=True)
def _warm(server):
    """A server's first turn takes a second and more, which is not to be any clock's."""
    with Client(server.url, password=server.password) as client:
        run(MemoryMessage("hello"), MemoryRecord("The first turn"), client)


@pytest.fixture
def record():
    return MemoryRecord("A deadline")


def run(message, record, client, *, observer=None, **options):
    session = Session(record, permissions_for=lambda _: [allow("*")], on_error=lambda *_: None)
    return Turn(message, session, client, observer=observer, **options).run()


def is_ended_by(message, name, seconds):
    """The row says which deadline it was."""
    error = message.state.error
    assert message.state.status is TurnStatus.FAILED
    return error["name"] == name and f" {seconds:g} s" in error["message"]


class LateWithEachChange(Observer):
    """An hour passes whenever the answer grows."""

    def __init__(self, hours):
        self._hours = hours

    def changed(self, change, reply):
        self._hours.leap(HOUR)


class Prompting(Observer):
    """Another prompt, which is no turn's, comes just before this one."""

    def __init__(self, client):
        self._client = client

    def started(self, session_id, prompt_id):
        self._client.prompt(session_id, SLOW)
        eventually(lambda: self._client.busy(session_id))


def test_a_prompt_that_nobody_begins_to_answer_ends_though_its_session_is_full_of_life(client, record):
    message = MemoryMessage("and me?")
    deadlines = Deadlines(start=1, look=0.5)
    result = run(message, record, client, observer=Prompting(client), deadlines=deadlines)
    assert is_ended_by(message, "StartTimeoutError", 1)
    assert message.state.error == result.error
    assert result.duration >= 1
    eventually(lambda: not client.busy(result.session_id))


def test_a_session_of_which_nothing_is_heard_ends_though_the_server_beats(client, record):
    stop = threading.Event()

    def beat():
        while not stop.wait(0.1):
            client._core._events._router.deliver(Heartbeat())  # it does so by itself, every 10 s

    beating = threading.Thread(target=beat)
    message = MemoryMessage(MUTE)
    with client.subscribe():  # the stream is there
        beating.start()
        try:
            result = run(message, record, client, deadlines=Deadlines(silence=1, look=0.5))
        finally:
            stop.set()
            beating.join()
    assert is_ended_by(message, "SilenceTimeoutError", 1)
    assert result.duration >= 1
    eventually(lambda: not client.busy(result.session_id))


def test_a_turn_that_is_silent_for_too_long_ends(client, record):
    message = MemoryMessage(MUTE)
    result = run(message, record, client, deadlines=Deadlines(total=1.0, look=0.5))
    assert is_ended_by(message, "TotalTimeoutError", 1)
    assert result.duration >= 1
    eventually(lambda: not client.busy(result.session_id))


def test_a_turn_that_speaks_for_too_long_ends(client, record, hours):
    message, deadlines = MemoryMessage(SLOW), Deadlines(total=4 * HOUR, silence=2 * HOUR)
    result = run(message, record, client, observer=LateWithEachChange(hours), deadlines=deadlines)
    assert is_ended_by(message, "TotalTimeoutError", 4 * HOUR)
    assert result.content.startswith("word")
    eventually(lambda: not client.busy(result.session_id))


def test_a_server_that_answers_nothing_any_more_ends_the_turn_and_is_named(server, client, record):
    message = MemoryMessage(SLOW)
    with (
        FaultProxy(server.url) as proxy,
        Client(proxy.url, password=server.password) as through,
    ):

        class Stalling(Observer):
            def first_token(self, seconds):
                proxy.stall()
                # Not before: it may be slow until then.
                through._core._transport.timeouts = Timeouts(read=0.5)

        deadlines = Deadlines(unreachable=1, look=0.5)
        result = run(message, record, through, observer=Stalling(), deadlines=deadlines)
        proxy.resume()
    assert (result.status, result.error["name"]) == (TurnStatus.FAILED, "RequestTimedOutError")
    assert message.state.error == result.error
    assert result.duration < 60
    client.abort(result.session_id)


@pytest.mark.full
def test_the_clocks_of_a_turn_that_goes_on_in_time_strike_nobody(client, record, hours):
    message = MemoryMessage("!slow 0.02\n!say " + "word " * 40)
    deadlines = Deadlines(silence=10 * HOUR, total=1000 * HOUR, unreachable=1, look=0.5)
    result = run(message, record, client, observer=LateWithEachChange(hours), deadlines=deadlines)
    assert (result.status, result.error) == (TurnStatus.COMPLETED, None)
    assert result.duration > deadlines.silence


@pytest.mark.full
def test_an_answer_that_began_in_time_may_speak_for_longer_than_it_had_to_begin(client, record, hours):
    message = MemoryMessage("!slow 0.02\n!say " + "word " * 40)
    deadlines = Deadlines(start=2 * HOUR, silence=1000 * HOUR, total=1000 * HOUR)
    result = run(message, record, client, observer=LateWithEachChange(hours), deadlines=deadlines)
    assert (result.status, result.error) == (TurnStatus.COMPLETED, None)
    assert result.first_token < deadlines.start < result.duration


@pytest.mark.full
def test_a_deadline_strikes_when_it_passes_and_not_at_the_next_look(client, record):
    message = MemoryMessage(MUTE)
    result = run(message, record, client, deadlines=Deadlines(silence=0.5, look=90))
    assert is_ended_by(message, "SilenceTimeoutError", 0.5)
    assert result.duration < 60


@pytest.mark.usefixtures("stops_patiently")
def test_a_deadline_that_passes_as_the_prompt_is_sent_stops_what_was_sent(place, record):
    """The first prompt in a directory is accepted a second before it is stored."""
    result = run(MemoryMessage(MUTE), record, place, deadlines=Deadlines(total=0.001))
    assert result.error["name"] == "TotalTimeoutError"
    assert place.message(result.session_id, result.prompt_id)
    eventually(lambda: not place.busy(result.session_id))


class Swallowing(httpx2.HTTPTransport):
    """Prompts are accepted, and never arrive."""

    def handle_request(self, request):
        if request.url.path.endswith("/prompt_async"):
            return httpx2.Response(204)
        return super().handle_request(request)


@pytest.mark.full
def test_a_prompt_that_never_arrives_ends_in_time_however_often_it_is_sent(server, record, monkeypatch):
    monkeypatch.setattr("opencode_sessions.turns.follower._SETTLE", (0.05,))
    message = MemoryMessage("did it arrive?")
    with Client(server.url, password=server.password, transport=Swallowing()) as client:
        run(message, record, client, deadlines=Deadlines(start=0.5, look=0.1))
    assert is_ended_by(message, "StartTimeoutError", 0.5)


ENDLESS = Deadlines(
    **dict.fromkeys(("start", "silence", "unreachable", "total", "person", "queue"), math.inf),
    look=0.2,
    lease=2,
)
ASKING = '!tool bash {"command": "echo hi", "description": "greets"}\n!slow 0.1\n!say one two three four'


@pytest.mark.full
def test_what_has_no_limit_runs_like_any_other_in_both_faces(server, record):
    """Also while a person is waited for, whose limit is infinite too."""

    def answer(_):
        time.sleep(0.5)  # for longer than a look
        return Answer.once()

    async def suspending():
        async with aio.Client(server.url, password=server.password) as client:
            session = aio.Session(MemoryRecord("The other API"), permissions_for=lambda _: [ask("*")])
            message = MemoryMessage(ASKING)
            return await aio.Turn(message, session, client, on_ask=answer, deadlines=ENDLESS).run()

    with Client(server.url, password=server.password) as client:
        session = Session(record, permissions_for=lambda _: [ask("*")])
        blocking = Turn(MemoryMessage(ASKING), session, client, on_ask=answer, deadlines=ENDLESS).run()
    assert [blocking.status, asyncio.run(suspending()).status] == [TurnStatus.COMPLETED] * 2
