"""What a turn costs in CPU and memory where many run in one process, beside one event stream for each of them."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass

from bench.metering import Cost, Meter
from bench.recording import Recording, record
from bench.replay import replaying
from bench.textbook import TextbookClient
from opencode_sessions import Client, Deadlines, OpencodeServer, Session, Timeouts, Turn, aio, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

_DEADLINES = Deadlines(look=60.0)
"""The server is silent until all have asked, which is no reason to look at what it has stored."""

_TIMEOUTS = Timeouts(read=120.0, creation=120.0)
"""A thousand ask at the same time."""


@dataclass(frozen=True)
class Crowd:
    """So many turns run at once, and so often.

    Attributes:
        together: How many the server plays.
        here: How many of them are run here, and measured.
    """

    together: int
    here: int
    rounds: int = 1


_OURS = (Crowd(1, 1, 6), Crowd(10, 10, 3), Crowd(100, 100), Crowd(1000, 1000))
_TEXTBOOK = (Crowd(1, 1, 6), Crowd(10, 10, 3), Crowd(100, 10), Crowd(1000, 2))
"""A few of many are enough: each of them parses what the server says of all, and all of them would its square."""


def measure(server: OpencodeServer) -> list[tuple[str, ...]]:
    recording = record(server)
    return [
        ("turns at once", "measured", "CPU, ms", "to one's", "peak, KiB", "writes", "all, s"),
        *_rows("asyncio", _suspending, _OURS, recording),
        *_rows("threads", _blocking, _OURS[:3], recording),
        *_rows("a stream each", _textbook, _TEXTBOOK, recording),
    ]


def _rows(
    name: str, run: Callable[[str, str, Crowd], Cost], crowds: tuple[Crowd, ...], recording: Recording
) -> list[tuple[str, ...]]:
    rows, alone = [], 0.0
    for crowd in crowds:
        # In a process that holds nothing else.
        spawning = multiprocessing.get_context("spawn")
        with replaying(recording) as url, ProcessPoolExecutor(1, mp_context=spawning) as process:
            cost = process.submit(run, url, recording.text, crowd).result()
        alone = alone or cost.cpu
        memory = f"{cost.memory:,.0f}" if crowd.here > 1 else ""
        numbers = (f"{cost.cpu * 1e3:,.1f}", f"{cost.cpu / alone:.2f}", memory, f"{cost.writes:.0f}")
        rows.append((f"{name}: {crowd.together:,}", f"{crowd.here:,}", *numbers, f"{cost.seconds:.1f}"))
    return rows


def _suspending(url: str, text: str, crowd: Crowd) -> Cost:
    return asyncio.run(_on_asyncio(aio.Client, url, text, crowd))


def _textbook(url: str, text: str, crowd: Crowd) -> Cost:
    return asyncio.run(_on_asyncio(TextbookClient, url, text, crowd))


async def _on_asyncio(make_client: type[aio.Client], url: str, text: str, crowd: Crowd) -> Cost:
    async with make_client(url, timeouts=_TIMEOUTS) as client:
        await _async_turn("1 of 1", client)  # opens connections, and imports what is imported late
        meter = Meter()
        prompt = f"{crowd.here} of {crowd.together}"
        for _ in range(crowd.rounds):
            turns = (_async_turn(prompt, client) for _ in range(crowd.here))
            meter.count(text, await asyncio.gather(*turns))
        return meter.cost(crowd.rounds)


async def _async_turn(prompt: str, client: aio.Client) -> MemoryMessage:
    session = aio.Session(MemoryRecord("bench"), permissions_for=lambda _: [allow("*")])
    message = MemoryMessage(prompt)
    await aio.Turn(message, session, client, deadlines=_DEADLINES).run()
    return message


def _blocking(url: str, text: str, crowd: Crowd) -> Cost:
    with Client(url, timeouts=_TIMEOUTS) as client, ThreadPoolExecutor(crowd.here) as threads:
        _turn("1 of 1", client)
        meter = Meter()
        prompt = f"{crowd.here} of {crowd.together}"
        for _ in range(crowd.rounds):
            running = [threads.submit(_turn, prompt, client) for _ in range(crowd.here)]
            meter.count(text, [turn.result() for turn in running])
        return meter.cost(crowd.rounds)


def _turn(prompt: str, client: Client) -> MemoryMessage:
    session = Session(MemoryRecord("bench"), permissions_for=lambda _: [allow("*")])
    message = MemoryMessage(prompt)
    Turn(message, session, client, deadlines=_DEADLINES).run()
    return message
