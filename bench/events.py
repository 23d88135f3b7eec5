"""Events a second through decode, demultiplex and reply, beside parsing the same bytes' JSON alone."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from statistics import median

import httpx2

from opencode_sessions import Client, OpencodeServer, Reply, Session, Turn, TurnResult, allow
from opencode_sessions.protocol.sse import SSEDecoder
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.wire.event_router import EventRouter
from opencode_sessions.wire.v1.frames import decode_event

_TURNS = 200
_ROUNDS = 7
_CHUNK = 16_384
_PROMPT = "\n".join(
    [
        "!reason I should write this down before I say anything about it.",
        '!tool write {"filePath": "bench.txt", "content": "a line\\n"}',
        f"!say {' '.join(f'word{number}' for number in range(60))}",
    ]
)


class Mailbox(list):
    """A subscriber's."""

    put = list.append


def measure(server: OpencodeServer) -> list[tuple[str, ...]]:
    recording, result = record(server)
    data = recording * _TURNS
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    frames = [event.data for event in SSEDecoder().feed(data)]
    ours, alone = [], []
    for _ in range(_ROUNDS):
        ours.append(_timed(lambda: through(chunks, result)))
        alone.append(_timed(lambda: [json.loads(frame) for frame in frames]))
    mine, parsing = median(ours), median(alone)
    return [
        ("recorded turn, again and again", "frames", "bytes", "frames/s", "ratio to JSON alone"),
        ("JSON alone", f"{len(frames):,}", f"{len(data):,}", f"{len(frames) / parsing:,.0f}", "1.00"),
        (
            "decode, demultiplex, reply",
            f"{len(frames):,}",
            f"{len(data):,}",
            f"{len(frames) / mine:,.0f}",
            f"{mine / parsing:.2f}",
        ),
    ]


def through(chunks: list[bytes], result: TurnResult) -> str:
    """What the library does with the bytes: they become events, find their subscriber, and grow a reply."""
    decoder, hub, mailbox = SSEDecoder(), EventRouter(), Mailbox()
    hub.add(result.session_id, mailbox)
    reply = Reply(result.session_id, result.prompt_id)
    for chunk in chunks:
        for framed in decoder.feed(chunk):
            event = decode_event(framed.data)
            if event is not None:
                hub.deliver(event)
        for event in mailbox:
            reply.apply(event)
        mailbox.clear()
    return reply.text


def record(server: OpencodeServer) -> tuple[bytes, TurnResult]:
    """One turn on the real server, as the bytes of its event stream."""
    auth = (server.username, server.password)
    pieces: list[bytes] = []
    with (
        Client(server.url, password=server.password) as client,
        httpx2.stream(
            "GET", f"{server.url}/global/event", auth=auth, trust_env=False, timeout=None
        ) as stream,
    ):
        reader = threading.Thread(target=_read, args=(stream, pieces), daemon=True)
        reader.start()
        session = Session(MemoryRecord("bench"), permissions_for=lambda _: [allow("*")])
        Turn(MemoryMessage("warm up"), session, client).run()
        pieces.clear()
        result = Turn(MemoryMessage(_PROMPT), session, client).run()
        time.sleep(0.5)
        whole = b"".join(pieces)
    return whole[whole.index(b"data: ") : whole.rindex(b"\n\n") + 2], result


def _read(stream: httpx2.Response, pieces: list[bytes]) -> None:
    with contextlib.suppress(httpx2.TransportError, httpx2.StreamError):  # so it ends when it is closed
        pieces.extend(stream.iter_raw())


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
