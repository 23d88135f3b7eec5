"""What the replay server plays, to whom, and when."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.recording import Recording
from opencode_sessions import new_message_id, new_session_id

_CONNECTED = b'data: {"payload":{"id":"evt_0","type":"server.connected","properties":{}}}\n\n'
_HEARTBEAT = b'data: {"payload":{"id":"evt_0","type":"server.heartbeat","properties":{}}}\n\n'
_BETWEEN_HEARTBEATS = 10.0
_SPREAD = 0.5
"""How long after the first turn the last one begins, in lengths of a turn."""


@dataclass(frozen=True)
class Played:
    """One turn that is played, and what makes its ids its own."""

    session_id: bytes
    prompt_id: bytes
    mark: bytes


class Player:
    """Writes the frames of many turns to all who listen.

    Attributes:
        turns: By the session.
        busy: The sessions whose turn is not over, as the server lists them.
    """

    def __init__(self, recording: Recording, seconds: float) -> None:
        self._recording = recording
        self._between = seconds / len(recording.frames)
        self._listeners: list[asyncio.StreamWriter] = []
        self._asked: list[Played] = []
        self._plays: set[asyncio.Task[None]] = set()
        self.turns: dict[str, Played] = {}
        self.busy: dict[str, dict[str, str]] = {}

    def add(self, listener: asyncio.StreamWriter) -> None:
        """Tell it everything from now on, as the server does."""
        self._listeners.append(listener)
        listener.write(_chunk(_CONNECTED))

    def discard(self, listener: asyncio.StreamWriter) -> None:
        """No more."""
        self._listeners = [other for other in self._listeners if other is not listener]

    async def beat(self) -> None:
        """Say every ten seconds that the server lives."""
        while True:
            await asyncio.sleep(_BETWEEN_HEARTBEATS)
            self._say(_HEARTBEAT)

    def publish(self, payload: Any) -> None:
        """Say this to all."""
        self._say(b"data: " + json.dumps({"payload": payload}).encode() + b"\n\n")

    def prompt(self, session_id: str, prompt_id: str, text: str) -> None:
        """One of `text`'s many, as in `7 of 100`; the last one of them begins the play."""
        here, _, together = text.partition(" of ")
        self._asked.append(self._turn(session_id, prompt_id))
        if len(self._asked) < int(here):
            return
        turns = [self._turn(new_session_id(), new_message_id()) for _ in range(int(together) - int(here))]
        for number, turn in enumerate(self._asked):  # evenly among the others
            turns.insert(int((number + 0.5) * int(together) / int(here)), turn)
        self._asked = []
        play = asyncio.create_task(self._play(turns))
        self._plays.add(play)
        play.add_done_callback(self._plays.discard)

    def _turn(self, session_id: str, prompt_id: str) -> Played:
        turn = Played(session_id.encode(), prompt_id.encode(), b"%06x" % len(self.turns))
        self.turns[session_id] = turn
        self.busy[session_id] = {"type": "busy"}
        return turn

    async def _play(self, turns: list[Played]) -> None:
        """Round by round a frame of each, the later turns some rounds behind; never ahead of who listens."""
        frames, idle = self._recording.frames, self._recording.idle
        behind = [int(len(frames) * _SPREAD * number / len(turns)) for number in range(len(turns))]
        began = time.monotonic()
        for round_ in range(len(frames) + behind[-1]):
            for number, turn in enumerate(turns):
                due = began + (round_ + number / len(turns)) * self._between
                await asyncio.sleep(max(due - time.monotonic(), 0))
                place = round_ - behind[number]
                if place == idle:
                    del self.busy[turn.session_id.decode()]
                if 0 <= place < len(frames):
                    stamp = b"%019d " % time.monotonic_ns()
                    self._say(frames[place].of(turn.session_id, turn.prompt_id, turn.mark, stamp))
            for listener in list(self._listeners):
                with suppress(ConnectionError):
                    await listener.drain()

    def _say(self, frame: bytes) -> None:
        """To each in its turn first."""
        self._listeners = [*self._listeners[1:], *self._listeners[:1]]
        chunk = _chunk(frame)
        for listener in self._listeners:
            if not listener.is_closing():
                listener.write(chunk)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
