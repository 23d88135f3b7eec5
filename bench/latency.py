"""How long a delta takes from the server's write to the observer's call, beside a bare socket on the same bytes."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from statistics import median, quantiles
from urllib.parse import urlsplit

from bench.recording import record
from bench.replay import replaying
from opencode_sessions import Change, Client, Observer, OpencodeServer, Reply, Session, Turn, aio, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

_TURNS = 100
_SECONDS = 4.0
"""That a turn takes, which makes some twenty deltas a second of each."""

_STAMP = re.compile(r"\d{19} ")
_SENT_STAMP = re.compile(rb"(\d{19}) \"")
_LONGEST = 64

Run = Callable[[Connection, str], None]


def measure(server: OpencodeServer) -> list[tuple[str, ...]]:
    recording = record(server, stamped=True)
    rows = [(f"{_TURNS} turns at once", "deltas", "median, ms", "99th %, ms", "to the socket's")]
    for name, run in (("asyncio", _suspending), ("threads", _blocking)):
        expected = recording.deltas * _TURNS
        with replaying(recording, seconds=_SECONDS) as url:
            socket_end, bare = _started(_bare, url, expected)
            socket_end.recv()  # it listens
            observer_end, observing = _started(run, url)
            observed, read = observer_end.recv(), socket_end.recv()
            observing.join()
            bare.join()
        if not len(observed) == len(read) == expected:
            raise RuntimeError(f"of {expected} deltas {len(observed)} were observed, and {len(read)} read")
        rows += [_row(f"{name}: a bare socket", read, read), _row(f"{name}: the observer", observed, read)]
    return rows


def _started(run: Callable[..., None], *arguments: object) -> tuple[Connection, multiprocessing.Process]:
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=run, args=(there, *arguments), daemon=True)
    process.start()
    there.close()
    return here, process


def _row(name: str, took: list[int], beside: list[int]) -> tuple[str, ...]:
    middle, tail = _figures(took)
    other_middle, other_tail = _figures(beside)
    ratios = f"{middle / other_middle:.1f}, {tail / other_tail:.1f}"
    return (name, f"{len(took):,}", f"{middle / 1e6:.2f}", f"{tail / 1e6:.2f}", ratios)


def _figures(nanoseconds: list[int]) -> tuple[float, float]:
    return median(nanoseconds), quantiles(nanoseconds, n=100)[98]


def _bare(pipe: Connection, url: str, expected: int) -> None:
    """Reads bytes and looks for stamps, as little as can be done with them."""
    address = urlsplit(url)
    took: list[int] = []
    with socket.create_connection((address.hostname, address.port)) as bare:
        bare.sendall(b"GET /global/event HTTP/1.1\r\nhost: localhost\r\n\r\n")
        kept = bare.recv(65_536)
        pipe.send("listens")
        while len(took) < expected:
            kept += bare.recv(65_536)
            now = time.monotonic_ns()
            stamps = list(_SENT_STAMP.finditer(kept))
            took += [now - int(stamp[1]) for stamp in stamps]
            kept = kept[stamps[-1].end() if stamps else -_LONGEST :]
    pipe.send(took)


class _Timing(Observer):
    def __init__(self, took: list[int]) -> None:
        self._took = took

    def changed(self, change: Change, reply: Reply) -> None:  # noqa: ARG002 - an observer's call
        now = time.monotonic_ns()
        self._took += [now - int(stamp) for stamp in _STAMP.findall(change.delta)]


def _suspending(pipe: Connection, url: str) -> None:
    took: list[int] = []

    async def turn(client: aio.Client) -> None:
        session = aio.Session(MemoryRecord("bench"), permissions_for=lambda _: [allow("*")])
        message = MemoryMessage(f"{_TURNS} of {_TURNS}")
        await aio.Turn(message, session, client, observer=_Timing(took)).run()

    async def main() -> None:
        async with aio.Client(url) as client:
            await asyncio.gather(*(turn(client) for _ in range(_TURNS)))

    asyncio.run(main())
    pipe.send(took)


def _blocking(pipe: Connection, url: str) -> None:
    took: list[int] = []

    def turn(client: Client) -> None:
        session = Session(MemoryRecord("bench"), permissions_for=lambda _: [allow("*")])
        Turn(MemoryMessage(f"{_TURNS} of {_TURNS}"), session, client, observer=_Timing(took)).run()

    with Client(url) as client, ThreadPoolExecutor(_TURNS) as threads:
        for running in [threads.submit(turn, client) for _ in range(_TURNS)]:
            running.result()
    pipe.send(took)
