"""The shared stream over real sockets, against a server that this file plays byte by byte."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time

import pytest
from event_stage import HEAD, Stage, frame, idle

from opencode_sessions import aio, errors
from opencode_sessions.protocol.events import (
    Gap,
    SessionChanged,
    SessionIdle,
    Unknown,
)
from opencode_sessions.testing import FaultProxy
from opencode_sessions.wire import clients
from opencode_sessions.wire.address import Timeouts


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


@pytest.fixture
def client(stage):
    # What a test does meanwhile may take its time: that is no silence.
    with clients.Client(stage.url, timeouts=Timeouts(connect=60, silence=100)) as client:
        yield client


def test_one_connection_serves_all_subscribers(stage, client):
    with client.subscribe("ses_1") as one, client.subscribe("ses_2") as two:
        stage.send(idle("ses_2"), idle("ses_1"))
        assert one.next(60) == SessionIdle(session_id="ses_1")
        assert two.next(60) == SessionIdle(session_id="ses_2")
        assert one.next(0) is None
    assert len(stage.connections) == 1


def test_a_stream_stands_when_the_server_was_heard_not_when_it_says_connected(stage, client):
    stage.deaf_to_probes = 3
    with client.subscribe("ses_1") as events, client.subscribe() as everything:
        assert stage.probes >= 4  # one more for each that a busy machine answers late
        assert everything.next(0.2) is None
        stage.send(idle("ses_1"))
        assert events.next(60) == SessionIdle(session_id="ses_1")


def test_it_is_opened_only_when_somebody_listens(stage, client):
    assert stage.connections == []
    client.subscribe("ses_1").close()
    assert len(stage.connections) == 1


def test_a_cut_is_mended_and_told_as_a_gap(stage, client):
    with client.subscribe("ses_1") as events:
        stage.opened.acquire(timeout=60)
        stage.cut()
        stage.opened.acquire(timeout=60)
        gap = events.next(60)
        assert isinstance(gap, Gap)
        assert gap.reason
        stage.send(idle("ses_1"))
        assert events.next(60) == SessionIdle(session_id="ses_1")


def test_a_cut_in_the_middle_of_an_event_loses_that_event_only(stage, client):
    with client.subscribe("ses_1") as events:
        stage.opened.acquire(timeout=60)
        stage.send(idle("ses_1")[:20])
        stage.cut()
        stage.opened.acquire(timeout=60)
        stage.send(idle("ses_1"))
        assert [type(events.next(60)), type(events.next(60))] == [Gap, SessionIdle]


def test_a_stream_without_a_byte_is_given_up_and_opened_again(stage):
    timeouts = Timeouts(silence=1.0)
    with clients.Client(stage.url, timeouts=timeouts) as client, client.subscribe("ses_1") as events:
        gap = events.next(60)
    assert isinstance(gap, Gap)
    assert "not even its heartbeat" in gap.reason
    assert len(stage.connections) >= 2


def test_a_server_that_takes_the_connection_and_does_not_answer_yet_is_asked_again(stage):
    timeouts = Timeouts(connect=0.5, silence=30)
    with clients.Client(stage.url, timeouts=timeouts) as client, client.subscribe("ses_1") as events:
        stage.opened.acquire(timeout=60)
        greeting, stage.greeting = stage.greeting, b""
        stage.cut()
        stage.opened.acquire(timeout=60)
        stage.greeting = greeting
        assert isinstance(events.next(60), Gap)
    assert len(stage.connections) >= 3


def test_a_first_connection_that_hangs_is_tried_again_rather_than_given_up(stage):
    stage.greeting, greeting = b"", stage.greeting

    def greet_the_next():
        assert stage.opened.acquire(timeout=60)
        stage.greeting = greeting

    with clients.Client(stage.url, timeouts=Timeouts(connect=0.5)) as client:
        greeting_the_next = threading.Thread(target=greet_the_next)
        greeting_the_next.start()
        client.subscribe("ses_1").close()
        greeting_the_next.join(60)
    assert len(stage.connections) >= 2


def test_json_that_does_not_parse_costs_that_event_only(stage, client, caplog):
    with client.subscribe("ses_1") as events:
        stage.send(b"data: {nonsense\n\n", idle("ses_1"))
        assert events.next(60) == SessionIdle(session_id="ses_1")
    assert "was dropped" in caplog.text


def test_what_is_not_known_passes_through(stage, client):
    with client.subscribe() as events:
        stage.send(frame("moon.phase", full=True))
        assert events.next(60) == Unknown(kind="moon.phase", properties={"full": True})


def written(kind, session_id, **properties):
    """A frame as the real server writes it, the session first."""
    payload = {"id": "evt_1", "type": kind, "properties": {"sessionID": session_id, **properties}}
    whole = {"directory": "/srv", "project": "global", "payload": payload}
    return b"data: " + json.dumps(whole, separators=(",", ":")).encode() + b"\n\n"


def test_what_concerns_only_a_session_that_nobody_listens_to_is_not_even_parsed(stage, client, caplog):
    broken = written("message.part.delta", "ses_other").replace(b"}}}", b",oh no")
    with client.subscribe("ses_1") as events:
        stage.send(broken, written("session.idle", "ses_other"), written("session.idle", "ses_1"))
        assert events.next(60).session_id == "ses_1"
        assert "was dropped" not in caplog.text
        stage.send(broken.replace(b"ses_other", b"ses_1"), written("session.idle", "ses_1"))
        assert events.next(60).session_id == "ses_1"
        assert "was dropped" in caplog.text


def test_a_childs_events_are_heard_from_the_moment_that_its_parent_is_known(stage, client):
    with client.subscribe("ses_1") as events:
        stage.send(
            written("session.idle", "ses_child"),
            written("session.created", "ses_child", info={"parentID": "ses_1"}),
            written("session.idle", "ses_child"),
        )
        assert [type(events.next(60)), events.next(60), events.next(0.1)] == [
            SessionChanged,
            SessionIdle(session_id="ses_child", directory="/srv"),
            None,
        ]


def delta(session_id, text):
    return written(
        "message.part.delta", session_id, messageID="msg_1", partID="prt_1", field="text", delta=text
    )


def test_a_subscriber_that_takes_nothing_holds_nobody_up_and_gets_all_text_in_few_events(stage, client):
    with client.subscribe("ses_slow") as slow, client.subscribe("ses_quick") as quick:
        for _ in range(100):
            stage.send(delta("ses_slow", "four") * 50, idle("ses_quick"))
            assert quick.next(60) == SessionIdle(session_id="ses_quick")
        pieces = []
        while (event := slow.next(0)) is not None:
            pieces.append(event.delta)
        assert "".join(pieces) == "four" * 5_000
        assert len(pieces) < 100


def test_a_subscriber_that_falls_far_behind_is_told_a_gap_and_then_goes_on(stage, client):
    with client.subscribe("ses_slow") as slow, client.subscribe("ses_quick") as quick:
        asks = [written("permission.asked", "ses_slow", id=f"per_{number}") for number in range(1_001)]
        stage.send(b"".join(asks), idle("ses_slow"), idle("ses_quick"))
        assert quick.next(60) == SessionIdle(session_id="ses_quick")
        gap = slow.next(0)
        assert isinstance(gap, Gap)
        assert "fell behind" in gap.reason
        assert slow.next(0) == SessionIdle(session_id="ses_slow")


def test_nobody_there_is_said_at_once():
    with socket.create_server(("127.0.0.1", 0)) as vacant:
        url = f"http://127.0.0.1:{vacant.getsockname()[1]}"
    with clients.Client(url) as client:
        began = time.monotonic()
        with pytest.raises(errors.ServerUnreachableError):
            client.subscribe("ses_1")
        assert time.monotonic() - began < 25  # in which it would try


def test_a_first_connection_that_breaks_is_tried_again_before_it_is_said(stage):
    with FaultProxy(stage.url) as proxy, clients.Client(proxy.url) as client:
        proxy.cut_after(1, "down", matching=b"GET /global/event")
        proxy.cut_after(len(HEAD) + 5, "down", matching=b"GET /global/event")
        client.subscribe("ses_1").close()
        assert [fault.kind for fault in proxy.faults] == ["cut_after"] * 2


def test_connections_that_all_break_are_said_soon(stage):
    with FaultProxy(stage.url) as proxy, clients.Client(proxy.url) as client:
        for _ in range(3):
            proxy.cut_after(0, "down")
        with pytest.raises(errors.ConnectionLostError):
            client.subscribe("ses_1")


def test_refused_credentials_end_the_stream_for_all(stage, client):
    with client.subscribe("ses_1") as events:
        stage.opened.acquire(timeout=60)
        stage.greeting = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
        stage.cut()
        with pytest.raises(errors.CredentialsRefusedError):
            events.next(60)


def test_a_web_page_is_not_a_stream(stage):
    stage.greeting = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi"
    with (
        clients.Client(stage.url, timeouts=Timeouts(read=0.5)) as client,
        pytest.raises(errors.NotOpencodeError),
    ):
        client.subscribe("ses_1")


def test_a_reader_that_could_not_be_started_is_started_for_the_next_subscriber(stage, client, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _too_many)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            client.subscribe("ses_1")
    client.subscribe("ses_1").close()
    assert len(stage.connections) == 1


def _too_many(_):
    raise RuntimeError("can't start new thread")


def test_many_threads_subscribe_at_once_over_one_connection(stage, client):
    heard = []

    def listen(number):
        with client.subscribe(f"ses_{number}") as events:
            ready.wait(60)
            heard.append(events.next(60).session_id)

    ready = threading.Barrier(21)
    threads = [threading.Thread(target=listen, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    ready.wait(60)
    stage.send(*(idle(f"ses_{number}") for number in range(20)))
    for thread in threads:
        thread.join(60)
    assert sorted(heard) == sorted(f"ses_{number}" for number in range(20))
    assert len(stage.connections) == 1


def test_a_forked_child_opens_its_own_stream_and_leaves_the_parents_alone(stage, client):
    with client.subscribe("ses_1") as events:
        stage.opened.acquire(timeout=60)
        mine = stage.connections[-1]
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                with client.subscribe("ses_1") as own:
                    os.write(write, type(own.next(60)).__name__.encode())
            finally:
                os._exit(0)
        assert stage.opened.acquire(timeout=60), "the child never connected"
        time.sleep(0.1)
        stage.send(idle("ses_1"))
        os.waitpid(pid, 0)
        assert os.read(read, 100) == b"SessionIdle"
        mine.sendall(idle("ses_1"))
        assert events.next(60) == SessionIdle(session_id="ses_1")
        os.close(read)
        os.close(write)


def test_a_forked_child_that_closes_the_client_leaves_the_parents_stream_open(stage, client):
    with client.subscribe("ses_1") as events:
        pid = os.fork()
        if pid == 0:
            try:
                client.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        stage.send(idle("ses_1"))
        assert events.next(60) == SessionIdle(session_id="ses_1")


def test_the_async_face_does_the_same(stage):
    async def main():
        async with aio.Client(stage.url) as client:
            async with await client.subscribe("ses_1") as events, await client.subscribe(None) as everything:
                stage.send(idle("ses_1"))
                first = await events.next(60)
                await asyncio.to_thread(stage.cut)
                second = [await events.next(60), await everything.next(60), await everything.next(60)]
        return first, second

    first, (gap, *rest) = asyncio.run(main())
    assert first == SessionIdle(session_id="ses_1")
    assert isinstance(gap, Gap)
    assert [type(event) for event in rest] == [SessionIdle, Gap]
