"""A Django project or a FastAPI app behind a real ASGI server, in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import django

from opencode_sessions import Rule, allow

_LONGEST = 60.0


class Host:
    """The process.

    Attributes:
        url: Where it serves.
        path: Of a turn's events there, with a place for its key.
        pid: Its id.
    """

    def __init__(self, url: str, path: str, pid: int, pipe: Connection) -> None:
        self.url = url
        self.path = path
        self.pid = pid
        self._pipe = pipe

    def tell(self, order: str, *arguments: object) -> None:
        """Give it one of the orders of `bench.hosted_django`, or of `bench.hosted_fastapi`."""
        self._pipe.send((order, arguments))

    def has_said(self, *, within: float = 0.0) -> bool:
        """Is there an answer to be heard, or in so many seconds?"""
        return self._pipe.poll(within)

    def hear(self) -> Any:
        """The answer."""
        if not self.has_said(within=_LONGEST):
            raise RuntimeError(f"the ASGI process {self.pid} has said nothing for {_LONGEST:.0f} s")
        return self._pipe.recv()

    def ask(self, order: str, *arguments: object) -> Any:
        """Give an order, and wait for its answer."""
        self.tell(order, *arguments)
        return self.hear()


def django_host(upstream: str, database: Mapping[str, Any], turns: int) -> AbstractContextManager[Host]:
    """A process of the test project that has begun to start: it answers once it serves.

    Args:
        upstream: The URL of its OpenCode server.
        database: As in Django's `DATABASES`; empty.
        turns: How many it runs at once.
    """
    opencode = {"SERVER": upstream, "THREADS": turns, "PERMISSIONS_FOR": "bench.hosting.rules_for"}
    environment = {
        "DJANGO_SETTINGS_MODULE": "web_project.settings",
        "CHAT_DATABASES": json.dumps({"default": database}),
        "CHAT_OPENCODE": json.dumps(opencode),
    }
    return _hosting("bench.hosted_django", "/opencode/turns/chat.message/{}/events", environment)


def fastapi_host(
    upstream: str, database: str, turns: int, notifier: str = ""
) -> AbstractContextManager[Host]:
    """The same of a FastAPI app; the database is a URL of SQLAlchemy's, the notifier that of `notifier_at`."""
    environment = {
        "BENCH_UPSTREAM": upstream,
        "BENCH_DATABASE": database,
        "BENCH_TURNS": str(turns),
        "BENCH_NOTIFIER": notifier,
    }
    return _hosting("bench.hosted_fastapi", "/turns/prompts/{}/events", environment)


@contextmanager
def _hosting(module: str, path: str, environment: Mapping[str, str]) -> Iterator[Host]:
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        process = spawning.Process(target=_serve, args=(there, listening, module, environment), daemon=True)
        process.start()
        there.close()
        try:
            yield Host(f"http://127.0.0.1:{listening.getsockname()[1]}", path, process.pid or 0, here)
        finally:
            process.terminate()
            process.join()


def rules_for(_record: object) -> list[Rule]:
    """Those that the recorded server shows."""
    return [allow("*")]


def _serve(pipe: Connection, listening: socket.socket, module: str, environment: Mapping[str, str]) -> None:
    os.environ |= environment
    if "DJANGO_SETTINGS_MODULE" in environment:
        django.setup()  # before models are imported
    import_module(module).serve(pipe, listening)
