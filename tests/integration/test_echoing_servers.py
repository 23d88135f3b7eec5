"""A server that sends our credentials back: they are in no error, no traceback and no log. Over real sockets."""

from __future__ import annotations

import gzip
import json
import logging
import re
import traceback
from urllib.parse import quote

import pytest
from scripted_server import FACES, ScriptedServer, response

from opencode_sessions import errors

PASSWORD = 'hunt"er/2+ ü'
TOKEN = "b3BlbmNvZGU6aHVudCJlci8yKyDDvA=="
SECRETS = {
    "the password": PASSWORD,
    "the password in a URL": quote(PASSWORD, safe=""),
    "the header": f"Basic {TOKEN}",
    "the token in a URL": quote(TOKEN, safe=""),
}
LEAKS = re.compile(r"hunt|b3BlbmNvZGU6aHVud", re.IGNORECASE)


@pytest.fixture(
    params=[FACES["blocking"], pytest.param(FACES["suspending"], marks=pytest.mark.full)], ids=list(FACES)
)
def ask(request):
    return request.param


def as_header(name, secret):
    return name + b": " + secret.encode()


def in_json(body, **more):
    return response(json.dumps(body).encode(), **more)


ANSWERS = {
    "a message": lambda secret: in_json({"message": f"no {secret} here"}, status="400 Bad Request"),
    "a nested message": lambda secret: in_json({"data": {"message": secret}}, status="500 Oh"),
    "a body": lambda secret: response(
        f"<p>{secret}</p>".encode(), status="401 Unauthorized", kind=b"text/html"
    ),
    "a body of another encoding": lambda secret: response(
        gzip.compress(json.dumps({"message": secret}).encode()),
        b"content-encoding: gzip",
        status="409 Conflict",
    ),
    "a gateway's body": lambda secret: response(secret.encode(), status="502 Bad Gateway"),
    "a page": lambda secret: response(secret.encode(), kind=b"text/html"),
    "a content type": lambda secret: response(b"x", kind=secret.encode()),
    "JSON that does not parse": lambda secret: response(b'{"x": ' + secret.encode()),
    "an unknown shape": lambda secret: in_json({"id": "ses_1", "time": secret}),
    "an id": lambda secret: in_json({"data": {"id": secret}}),
    "a version": lambda secret: in_json({"healthy": True, "version": f"2.{secret}"}),
    "a redirect": lambda secret: response(b"", as_header(b"location: /", secret), status="302 Found"),
    "a status line": lambda secret: b"HTTP/1.1 " + secret.encode() + b"\r\n\r\n",
    "a header line": lambda secret: b"HTTP/1.1 200 OK\r\n" + secret.encode() + b"\r\n\r\n",
    "a header": lambda secret: response(b"", as_header(b"x\x00y", secret)),
    "an encoding": lambda secret: response(secret.encode(), b"content-encoding: gzip"),
    "a chunk": lambda secret: (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + secret.encode() + b"\r\n\r\n"
    ),
}

CALLS = {
    "get": lambda client: client.get("ses_1"),
    "create": lambda client: client.create("ses_1"),
    "prompt": lambda client: client.prompt("ses_1", "hello"),
    "health": lambda client: client.health(),
    "status": lambda client: client.status(),
    "messages": lambda client: client.messages("ses_1"),
    "subscribe": lambda client: client.subscribe("ses_1"),
}


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(secret, marks=() if name == "the header" else pytest.mark.full)
        for name, secret in SECRETS.items()
    ],
    ids=list(SECRETS),
)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_credentials_that_come_back_are_not_printed(ask, answer, secret, caplog, monkeypatch):
    monkeypatch.setattr("opencode_sessions.wire.requester._BACKOFF", (0.0, 0.0))
    caplog.set_level(logging.DEBUG, logger="opencode_sessions")
    answered = answer(secret)
    raised = []

    def reply(connection, _):
        connection.sendall(answered)
        connection.close()

    with ScriptedServer(reply) as server:
        for call in CALLS.values():
            try:
                ask(server.url, call, password=PASSWORD)
            except errors.OpencodeError as error:
                raised.append(error)
    assert raised
    for error in raised:
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        assert not LEAKS.search(shown)
    assert not LEAKS.search(caplog.text)
    assert all(b"asic b3BlbmNvZGU6aHVudCJlci8yKyDDvA==" in head for head in server.heads)
