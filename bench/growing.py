"""What memory a server takes as agents work in more and more directories: left alone, and restarted at a limit."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from opencode_sessions import Client, OpencodeServer, Session, Turn, WireError, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.testing import ScriptedModel
from opencode_sessions.wire.memory import group_memory

_DIRECTORIES = 200
_SHOWN = (1, 50, 100, 150, 200)
_ROOM = 500_000_000
"""Bytes above what a fresh server takes, at which it is restarted."""


def measure() -> list[tuple[str, ...]]:
    fresh, alone = _grow(None)
    _, recycled = _grow(fresh + _ROOM)
    return [
        ("directories, one turn each", *map(str, _SHOWN), "restarts"),
        ("left alone, MB", *_row(alone)),
        (f"restarted at {(fresh + _ROOM) / 1e6:,.0f} MB, MB", *_row(recycled)),
    ]


def _row(looks: list[tuple[int, int]]) -> list[str]:
    restarts = sum(pid != before for (before, _), (pid, _) in pairwise(looks))
    return [*(f"{looks[number - 1][1] / 1e6:,.0f}" for number in _SHOWN), str(restarts)]


def _grow(recycle_at: int | None) -> tuple[int, list[tuple[int, int]]]:
    """The memory of a fresh server; then its process and its memory after each directory."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ScriptedModel() as model,
        OpencodeServer(config=model.config(), models={}, recycle_at=recycle_at) as server,
        Client(server.url, password=server.password) as client,
    ):
        fresh = group_memory(server.pid) or 0
        looks = []
        for number in range(_DIRECTORIES):
            directory = Path(folder, str(number))
            directory.mkdir()
            record, message = MemoryRecord("bench", directory=str(directory)), MemoryMessage("hello")
            session = Session(record, permissions_for=lambda _: [allow("*")])
            while not message.row["content"]:
                with suppress(WireError):  # a turn that begins while the server restarts
                    Turn(message, session, client).run()
            looks.append((pid := server.pid, group_memory(pid) or 0))
        return fresh, looks
