"""Browsers that watch turns, in a process of their own: raw sockets, and what came over them when."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

_STAMP = re.compile(rb"\b\d{19}\b")
_LARGEST = 1 << 20


@dataclass
class Watched:
    """What all browsers together saw.

    Attributes:
        delays: Of each delta that each of them was shown, the nanoseconds from the server's write of it.
        read: How many bytes they read.
        ends: What the last event of each says.
    """

    delays: list[int] = field(default_factory=list)
    read: int = 0
    ends: list[bytes] = field(default_factory=list)


@contextmanager
def watching(url: str, paths: list[str]) -> Iterator[Connection]:
    """One browser for each path, all of which have the first event; what they `Watched` comes when all streams end."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=_watch, args=(there, url, paths), daemon=True)
    process.start()
    there.close()
    here.recv()
    try:
        yield here
    finally:
        process.terminate()
        process.join()


def _watch(pipe: Connection, url: str, paths: list[str]) -> None:
    address = urlsplit(url)
    watched = Watched()

    async def main() -> None:
        seeing = asyncio.Barrier(len(paths) + 1)
        async with asyncio.TaskGroup() as browsers:  # the first one that sees nothing ends all
            for path in paths:
                browsers.create_task(
                    _browse(str(address.hostname), address.port or 80, path, seeing, watched)
                )
            await seeing.wait()
            pipe.send("they see something")

    asyncio.run(main())
    pipe.send(watched)


async def _browse(host: str, port: int, path: str, seeing: asyncio.Barrier, watched: Watched) -> None:
    """Reads events until the last one."""
    reader, writer = await asyncio.open_connection(host, port, limit=_LARGEST)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nx-who: owner\r\n\r\n".encode())
    newest = 0
    event = await reader.readuntil(b"event: state\n")
    watched.read += len(event)
    await seeing.wait()
    while b"event: end\n" not in event:
        event = await reader.readuntil(b"\n\n")
        now = time.monotonic_ns()
        watched.read += len(event)
        news = {stamp for each in _STAMP.findall(event) if (stamp := int(each)) > newest}
        watched.delays += [now - stamp for stamp in news]
        newest = max(news, default=newest)
    watched.ends.append(event)
    writer.close()
