"""Why a server cannot be reached: each error says what it is, and what to do. Over real sockets."""

from __future__ import annotations

import re
import socket
import time

import pytest
from scripted_server import FACES, ScriptedServer, response

from opencode_sessions import Client, OpencodeServer, Timeouts, errors
from opencode_sessions.server.diagnostics import State, look_at_server
from opencode_sessions.wire.v1 import calls

PATIENT = Timeouts(connect=60, first_read=60, read=60)


@pytest.fixture(params=FACES.values(), ids=FACES)
def ask(request):
    return request.param


def get(client):
    return client.get("ses_1")


def error_of(ask, url, call=get, timeouts=PATIENT):
    with pytest.raises(errors.WireError) as caught:
        ask(url, call, timeouts=timeouts)
    return caught.value


def test_a_closed_port_is_refused(ask, closed_port):
    error = error_of(ask, f"http://localhost:{closed_port}")
    assert isinstance(error, errors.ServerUnreachableError)
    assert error.refused
    assert str(error).startswith(
        f"no OpenCode server answers at http://localhost:{closed_port} (connection refused)"
    )
    assert "opencode-sessions serve" in str(error)


def test_a_name_that_does_not_resolve_is_named(ask):
    error = error_of(ask, "http://nowhere.invalid:4096")
    assert isinstance(error, errors.ServerUnreachableError)
    assert not error.refused
    assert re.match(r"the name nowhere\.invalid does not resolve \(.+\): correct it", str(error))


def test_a_certificate_that_nobody_trusts_is_named_with_the_variable_that_mends_it(
    ask, tls_server, monkeypatch
):
    error = error_of(ask, tls_server.url)
    assert isinstance(error, errors.ServerUnreachableError)
    assert not error.refused
    assert f"the certificate of {tls_server.url} is not accepted (self-signed certificate)" in str(error)
    assert "set SSL_CERT_FILE to" in str(error)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.certificate))
    assert ask(tls_server.url, lambda client: client.health()).version == "1.18.33"
    shouted = tls_server.url.replace("https", "HTTPS")
    assert ask(shouted, lambda client: client.health()).version == "1.18.33"


def test_a_certificate_for_another_name_is_named(ask, tls_server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.certificate))
    error = error_of(ask, f"https://127.0.0.1:{tls_server.port}")
    assert "is not accepted (IP address mismatch" in str(error)
    assert "use the name that it is for" in str(error)


def test_certificates_that_cannot_be_read_are_a_configuration_error(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere"))
    Client("http://localhost:4096").close()  # which needs none
    with pytest.raises(errors.ConfigurationError, match=r"SSL_CERT_FILE=.*nowhere"):
        Client("https://localhost:4096")


def test_https_spoken_to_http_is_named(ask, server):
    error = error_of(ask, server.url.replace("http:", "https:"))
    assert isinstance(error, errors.ServerUnreachableError)
    assert "does not take TLS" in str(error)
    assert "write http:// instead of https://" in str(error)


def test_http_spoken_to_https_is_supposed_where_nothing_was_ever_answered(ask, tls_server):
    error = error_of(ask, f"http://localhost:{tls_server.port}")
    assert isinstance(error, errors.ConnectionLostError)
    assert "nothing was ever answered there" in str(error)
    assert "write https:// instead of http://" in str(error)


@pytest.mark.parametrize(
    "said",
    [
        b"<html><title>400 The plain HTTP request was sent to HTTPS port</title>",  # nginx
        b"Client sent an HTTP request to an HTTPS server.\n",  # Go
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",  # Apache
    ],
)
def test_http_spoken_to_https_is_named_where_the_server_says_so(ask, said):
    answer = response(said, status="400 Bad Request", kind=b"text/html")
    with ScriptedServer(lambda connection, _: connection.sendall(answer)) as server:
        error = error_of(ask, server.url)
    assert isinstance(error, errors.BadRequestError)
    assert str(error).endswith("the server speaks https there. Write https:// instead of http://")


def test_a_connection_that_broke_after_an_answer_is_not_taken_for_https():
    def answer(connection, head):
        if b"health" in head:
            connection.sendall(response(b'{"healthy": true, "version": "1.18.33"}'))
        else:
            connection.shutdown(socket.SHUT_RDWR)

    with ScriptedServer(answer) as server, Client(server.url) as client:
        client.health()
        with pytest.raises(errors.ConnectionLostError) as caught:
            client.get("ses_1")
    assert "https" not in str(caught.value)


def test_a_server_that_hangs_is_named(ask, silent_port):
    error = error_of(ask, f"http://127.0.0.1:{silent_port}", timeouts=Timeouts(first_read=0.3, read=0.5))
    assert isinstance(error, errors.RequestTimedOutError)
    assert "was not answered within 0.5 s. The server accepts connections" in str(error)
    assert "restart it" in str(error)


def test_the_health_of_a_server_that_hangs_is_not_awaited_for_long(ask, silent_port, monkeypatch):
    monkeypatch.setattr(calls, "_HEALTH", 1)
    began = time.monotonic()
    error = error_of(
        ask, f"http://127.0.0.1:{silent_port}", lambda client: client.health(), Timeouts(first_read=0.3)
    )
    assert "was not answered within 1 s" in str(error)
    assert time.monotonic() - began < 10


def test_a_server_that_hangs_before_tls_is_named(ask, silent_port):
    error = error_of(ask, f"https://127.0.0.1:{silent_port}", timeouts=Timeouts(connect=0.5))
    assert isinstance(error, errors.ServerUnreachableError)
    assert "accepts connections, and did not begin TLS within 0.5 s" in str(error)


# -- what a doctor makes of it ---------------------------------------------------------------------


def look(url, said, *, asked_for=True, seconds=60):
    return look_at_server(
        lambda: Client(url, timeouts=Timeouts(connect=60, first_read=seconds, read=seconds)),
        asked_for=asked_for,
        start="start one",
        say=said.append,
    )


def test_a_doctor_tells_a_missing_server_from_one_that_hangs(closed_port, silent_port):
    said = []
    missing = look(f"http://127.0.0.1:{closed_port}", said)
    assert (missing.state, missing.mend) == (State.MISSING, "start one")
    assert not said
    hanging = look(f"http://127.0.0.1:{silent_port}", said, seconds=3)
    assert (hanging.state, hanging.mend) == (State.BROKEN, "")
    assert "overloaded or hangs" in hanging.found
    assert said == [f"waiting for an answer from http://127.0.0.1:{silent_port} …"]
    assert look(f"http://127.0.0.1:{closed_port}", said, asked_for=False).state is State.WARNING


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("http://nowhere.invalid", "does not resolve"),
        ("https://localhost:{tls_server.port}", "self-signed certificate"),
        ("http://localhost:{tls_server.port}", "write https://"),
    ],
)
def test_a_doctor_says_what_is_wrong_with_the_address(tls_server, place, found):
    finding = look(place.format(tls_server=tls_server), [])
    assert finding.state is State.BROKEN
    assert found in finding.found


# -- a server of our own ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostname", "said"),
    [
        ("nowhere.invalid", "the name does not resolve"),
        ("203.0.113.7", "this machine has no such address"),
    ],
)
def test_a_server_that_cannot_listen_at_an_address_says_why(hostname, said):
    with pytest.raises(errors.ServerStartError, match=f"cannot listen at {hostname}.*{said}"):
        OpencodeServer(hostname=hostname, port=4096).start()
