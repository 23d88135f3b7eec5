"""A server that plays a recorded turn for many sessions at once, in a process of its own.

A prompt says of how many it is one, as in `7 of 100`: when seven are there, a hundred turns are played, most of which
nobody asked for. It answers as the real server did; of a turn that it still plays, nothing is stored.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import multiprocessing
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from bench.playing import Player
from bench.recording import Recording

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@contextmanager
def replaying(recording: Recording, *, seconds: float | None = None) -> Iterator[str]:
    """The URL of a server that plays it.

    Args:
        recording: What it plays.
        seconds: How long a turn takes, if those who listen keep up; by default as long as it took.
    """
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(
        target=_serve, args=(there, recording, seconds or recording.seconds), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, recording: Recording, seconds: float) -> None:
    async def main() -> None:
        player = Player(recording, seconds)
        replay = _Replay(recording, player)
        server = await asyncio.start_server(replay.connected, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await player.beat()

    asyncio.run(main())


class _Replay:
    """Its HTTP."""

    def __init__(self, recording: Recording, player: Player) -> None:
        self._recorded = recording.answers
        self._player = player

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b"null"
                request = head.partition(b" HTTP/")[0].decode()
                if request == "GET /global/event":
                    writer.write(_STREAM)
                    self._player.add(writer)
                else:
                    writer.write(self._answer(request, json.loads(body)))
        self._player.discard(writer)
        writer.close()

    def _answer(self, request: str, body: Any) -> bytes:
        for pattern, handle in _ROUTES:
            if found := pattern.match(request):
                return handle(self, body, *found.groups())
        return _response(b'{"_tag": "NotFound"}', status=404)

    def create(self, body: Any) -> bytes:
        return self.session(body, "POST", body["id"])

    def session(self, body: Any, method: str, session_id: str) -> bytes:
        name = {"POST": "create", "PATCH": "update", "GET": "get"}[method]
        told = self._recorded[name].of(session_id.encode())
        if method == "PATCH":  # what was sent is looked for in the answer, and sent again if it is not there
            told = json.dumps(json.loads(told) | body).encode()
        return _response(told)

    def prompt(self, body: Any, session_id: str) -> bytes:
        self._player.prompt(session_id, body["messageID"], body["parts"][0]["text"])
        return b"HTTP/1.1 204 -\r\n\r\n"

    def message(self, _body: Any, session_id: str) -> bytes:
        return self._stored("message", session_id)

    def messages(self, _body: Any, session_id: str) -> bytes:
        return _response(b"[]") if session_id in self._player.busy else self._stored("messages", session_id)

    def _stored(self, name: str, session_id: str) -> bytes:
        turn = self._player.turns[session_id]
        stored = self._recorded[name].of(turn.session_id, turn.prompt_id, turn.mark)
        return _response(gzip.compress(stored, 1), b"content-encoding: gzip\r\n")

    def status(self, _body: Any) -> bytes:
        return _response(json.dumps(self._player.busy).encode())

    def publish(self, body: Any) -> bytes:
        self._player.publish(body)
        return _response(b"true")

    def asks(self, _body: Any) -> bytes:
        return _response(b"[]")


_ROUTES: tuple[tuple[re.Pattern[str], Callable[..., bytes]], ...] = (
    (re.compile(r"POST /api/session$"), _Replay.create),
    (re.compile(r"(GET|PATCH) /session/(ses_\w+)$"), _Replay.session),
    (re.compile(r"POST /session/(ses_\w+)/prompt_async$"), _Replay.prompt),
    (re.compile(r"GET /session/(ses_\w+)/message/"), _Replay.message),
    (re.compile(r"GET /session/(ses_\w+)/message\b"), _Replay.messages),
    (re.compile(r"GET /session/status\b"), _Replay.status),
    (re.compile(r"POST /tui/publish$"), _Replay.publish),
    (re.compile(r"GET /(?:permission|question)\b"), _Replay.asks),
)


def _response(body: bytes, more: bytes = b"", *, status: int = 200) -> bytes:
    head = b"HTTP/1.1 %d -\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body
