"""What a server may do to a client: fill its memory, hold it for good, send it elsewhere. Over real sockets."""

from __future__ import annotations

import gzip
import json
import re
import time
import tracemalloc

import pytest
from event_stage import HEAD as STREAM
from fix_cli import eventually
from scripted_server import FACES, ScriptedServer, response
from selection import sample

from opencode_sessions import Timeouts, errors
from opencode_sessions.wire import transports

MIB = 1024 * 1024
SESSION = json.dumps({"id": "ses_1", "title": "t"}).encode()


@pytest.fixture(params=FACES.values(), ids=FACES)
def ask(request):
    return request.param


def get(client):
    return client.get("ses_1")


# -- memory ----------------------------------------------------------------------------------------


CODINGS = {"plain": 0, "gzip": 1, "gzip twice": 2}


@pytest.mark.parametrize("times", sample(CODINGS.values(), 0, 2), ids=CODINGS)
def test_an_answer_is_read_no_further_than_the_limit(ask, times, monkeypatch):
    monkeypatch.setattr(transports, "LARGEST_RESPONSE", MIB)
    body = b" " * 64 * MIB
    for _ in range(times):
        body = gzip.compress(body, 1)
    headers = [b"content-encoding: " + b", ".join([b"gzip"] * times)] if times else []
    answer = response(body, *headers)
    with ScriptedServer(lambda connection, _: connection.sendall(answer)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(errors.ResponseTooLargeError, match="more than 1,048,576 bytes") as caught:
                ask(server.url, get)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert str(caught.value.request) == f"GET {server.url}/session/ses_1"
    assert caught.value.status == 200
    assert peak < 8 * MIB


def test_an_answer_of_exactly_the_limit_is_read(ask, monkeypatch):
    monkeypatch.setattr(transports, "LARGEST_RESPONSE", MIB)
    body = SESSION.ljust(MIB)
    with ScriptedServer(lambda connection, _: connection.sendall(response(body))) as server:
        assert ask(server.url, get).id == "ses_1"


def test_the_limit_is_64_mib():
    assert transports.LARGEST_RESPONSE == 64 * MIB


def messages_of(*sizes):
    """A server of a session with messages whose texts have these sizes, newest first, as it pages them."""

    def answer(connection, head):
        query = dict(re.findall(rb"[?&](\w+)=(\w+)", head.partition(b"\r\n")[0]))
        first, limit = int(query.get(b"before", 0)), int(query[b"limit"])
        page = [
            {
                "info": {"id": f"msg_{number}", "role": "user", "sessionID": "ses_1", "time": {"created": 1}},
                "parts": [{"id": f"prt_{number}", "type": "text", "text": "x" * sizes[number]}],
            }
            for number in range(first, min(first + limit, len(sizes)))
        ]
        more = [b"x-next-cursor: %d" % (first + limit)] if first + limit < len(sizes) else []
        connection.sendall(response(json.dumps(page[::-1]).encode(), *more))

    return answer


def test_a_page_of_large_messages_is_read_in_smaller_ones(ask, monkeypatch):
    monkeypatch.setattr(transports, "LARGEST_RESPONSE", MIB)
    sizes = [10, *[300_000] * 9, 10, 900_000]
    with ScriptedServer(messages_of(*sizes)) as server:
        found = ask(server.url, lambda client: client.messages("ses_1"))
    assert [message.info.id for message in found] == [f"msg_{number}" for number in range(12)]
    limits = [int(re.search(rb"limit=(\d+)", head)[1]) for head in server.heads]
    assert limits[:3] == [50, 12, 3]


def test_a_message_that_is_too_large_alone_is_an_error(ask, monkeypatch):
    monkeypatch.setattr(transports, "LARGEST_RESPONSE", MIB)
    with (
        ScriptedServer(messages_of(10, 2 * MIB)) as server,
        pytest.raises(errors.ResponseTooLargeError),
    ):
        ask(server.url, lambda client: client.messages("ses_1"))


def test_a_stream_of_events_is_asked_for_uncompressed(ask):
    def answer(connection, _):
        connection.sendall(response(b"", status="401 Unauthorized"))

    with ScriptedServer(answer) as server, pytest.raises(errors.CredentialsRefusedError):
        ask(server.url, lambda client: client.subscribe("ses_1"))
    assert server.heads[0].startswith(b"GET /global/event")
    assert re.findall(rb"(?i)accept-encoding: *(.*)\r", server.heads[0]) == [b"identity"]


def test_an_event_that_is_compressed_all_the_same_is_read_no_further_than_its_limit(ask):
    bomb = gzip.compress(b"data: " + b" " * 64 * MIB)
    head = STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    with ScriptedServer(lambda connection, _: connection.sendall(head + bomb)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(errors.EventTooLargeError):
                ask(server.url, lambda client: client.subscribe("ses_1"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 48 * MIB


# -- time ------------------------------------------------------------------------------------------

# Seconds: far more than an answer in time takes, and far less than the minute of a dripping one.
AT_MOST = 30


def dripping(head, drips):
    """A server that sends the head, and then bytes of `drips`, ten a second."""

    def answer(connection, _):
        connection.sendall(head)
        for byte in drips:
            time.sleep(0.1)
            connection.sendall(bytes([byte]))

    return answer


def seconds_of(function, *arguments, **options):
    began = time.monotonic()
    with pytest.raises(errors.RequestTimedOutError) as caught:
        function(*arguments, **options)
    return caught.value, time.monotonic() - began


def delete(client):
    return client.delete("ses_1")


DRIPS = {
    "status line": (b"HTTP/1.1 ", b"2" * 600, None),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-slow: 1\r\n" * 60, None),
    "body": (
        response(b"", b"transfer-encoding: chunked").replace(b"content-length: 0\r\n", b""),
        b"1\r\n \r\n" * 100,
        200,
    ),
}


@pytest.mark.parametrize("kind", sample(DRIPS, "body"))
def test_a_dripping_answer_ends_with_the_time_for_the_whole(ask, kind):
    head, drips, status = DRIPS[kind]
    with ScriptedServer(dripping(head, drips)) as server:
        error, seconds = seconds_of(ask, server.url, delete, timeouts=Timeouts(read=3))
    assert 2.9 < seconds < AT_MOST
    assert error.status == status
    assert len(server.heads) == 1


def test_an_answer_to_a_reading_that_never_begins_is_asked_for_twice(ask):
    with ScriptedServer(dripping(b"", b"HTTP/1.1 200 OK" + b" " * 600)) as server:
        _, seconds = seconds_of(ask, server.url, get, timeouts=Timeouts(first_read=0.5, read=1))
        eventually(lambda: len(server.heads) > 1)
    assert 1.4 < seconds < AT_MOST
    assert len(server.heads) == 2


def test_an_answer_to_a_reading_that_has_begun_has_the_time_for_the_whole_and_is_asked_for_once(ask):
    with ScriptedServer(dripping(*DRIPS["body"][:2])) as server:
        _, seconds = seconds_of(ask, server.url, get, timeouts=Timeouts(first_read=3, read=4))
    assert 3.9 < seconds < AT_MOST
    assert len(server.heads) == 1


def test_a_slow_answer_that_ends_in_time_is_read(ask):
    head, body = response(SESSION)[: -len(SESSION)], SESSION[:9]

    def answer(connection, _):
        dripping(head, body)(connection, _)
        connection.sendall(SESSION[9:])

    with ScriptedServer(answer) as server:
        assert ask(server.url, get, timeouts=Timeouts(first_read=0.5, read=30)).id == "ses_1"


@pytest.mark.full
def test_a_creation_has_a_time_of_its_own(ask):
    with ScriptedServer(dripping(b"HTTP/1.1 ", b"2" * 600)) as server:
        _, seconds = seconds_of(
            ask, server.url, lambda client: client.create("ses_1"), timeouts=Timeouts(read=60, creation=1)
        )
    assert 0.9 < seconds < AT_MOST


@pytest.mark.full
def test_the_second_request_of_a_connection_has_its_own_time(ask):
    def answer(connection, _):
        if len(server.heads) < 3:
            time.sleep(2)
            connection.sendall(response(b"true"))
        else:
            dripping(b"HTTP/1.1 ", b"2" * 600)(connection, _)

    def thrice(client):
        if ask is FACES["blocking"]:
            return [client.abort("ses_1") for _ in range(3)]

        async def main():
            for _ in range(3):
                await client.abort("ses_1")

        return main()

    with ScriptedServer(answer) as server:
        _, seconds = seconds_of(ask, server.url, thrice, timeouts=Timeouts(read=3.5))
    assert server.connections == 1
    assert 7.4 < seconds < AT_MOST


@pytest.mark.full
def test_a_server_that_takes_a_request_slowly_is_given_up_too(ask):
    def answer(connection, _):
        while connection.recv(MIB // 4):  # often enough for each write, too slowly for all of them
            time.sleep(0.2)

    answer.reads_the_body = True
    with ScriptedServer(answer) as server:
        _, seconds = seconds_of(
            ask, server.url, lambda client: client.prompt("ses_1", "x" * 64 * MIB), timeouts=Timeouts(read=2)
        )
    assert 1.9 < seconds < AT_MOST


@pytest.mark.full
def test_a_stream_whose_head_drips_is_given_up(ask):
    """A subscriber waits on, as a server that starts may leave the first request hanging: but for the next stream."""

    def answer(connection, head):
        if b"/global/event" in head and len(server.heads) == 1:
            dripping(b"HTTP/1.1 ", b"2" * 600)(connection, head)
        connection.sendall(response(b"", status="401 Unauthorized"))

    began = time.monotonic()
    with ScriptedServer(answer) as server, pytest.raises(errors.CredentialsRefusedError):
        ask(server.url, lambda client: client.subscribe("ses_1"), timeouts=Timeouts(connect=1))
    assert time.monotonic() - began < AT_MOST


# -- redirects -------------------------------------------------------------------------------------

LOCATIONS = {
    "https://login.example/start": "it redirects to https://login.example/start. ",
    "https://login.example/start?token=hunter2#hunter2": "it redirects to https://login.example/start. ",
    "/login?next=%2F": "it redirects to {url}/login. ",
    "https://me:hunter2@login.example/": "it redirects to an address with credentials in it. ",
    "http://[::1": "it redirects to http://[::1. ",
    "http://login.example:hunter/": "it redirects to http://login.example:hunter/. ",
    "": "it redirects to nowhere. ",
}


@pytest.mark.parametrize("call", ["get", "delete", "subscribe"])
@pytest.mark.parametrize(
    "status",
    sample(["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"], "302 Found"),
)
def test_a_redirect_is_named_and_not_followed(ask, call, status):
    with ScriptedServer(lambda connection, _: connection.sendall(response(SESSION))) as other:
        elsewhere = response(b"", b"location: " + other.url.encode(), status=status)
        with ScriptedServer(lambda connection, _: connection.sendall(elsewhere)) as server:
            with pytest.raises(errors.NotOpencodeError, match="redirects to") as caught:
                ask(server.url, lambda client: getattr(client, call)("ses_1"), password="pw")
    assert f"answered {status[:3]}: it redirects to {other.url}. " in str(caught.value)
    assert caught.value.status == int(status[:3])
    assert other.connections == 0


@pytest.mark.parametrize(("location", "said"), LOCATIONS.items(), ids=list(LOCATIONS))
def test_a_redirect_says_where_to_without_secrets(ask, location, said):
    answer = response(b"", b"location: " + location.encode(), status="302 Found")
    with ScriptedServer(lambda connection, _: connection.sendall(answer)) as server:
        with pytest.raises(errors.NotOpencodeError) as caught:
            ask(server.url, get)
    assert said.format(url=server.url) in str(caught.value)
    assert "hunter2" not in str(caught.value)
