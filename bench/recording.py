"""A recorded turn of the real server, to be played again for any number of sessions, each with ids of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from bench import events
from opencode_sessions import OpencodeServer, new_session_id

_IDS = re.compile(rb"\b(?:ses|msg|prt|evt)_[0-9A-Za-z]+")
_TEXT = re.compile(rb'("field":"text","delta":)"(?:[^"\\]|\\.)*"')
_STAMP = b"ses_stamp"
_IDLE = b'"type":"session.idle"'


class Template:
    """Bytes with the ids of the recording, which each session that they are told of has its own ones for.

    Args:
        recorded: As the server said it.
        session_id: The recorded session's.
        prompt_id: That of its prompt.
    """

    def __init__(self, recorded: bytes, session_id: str, prompt_id: str) -> None:
        self._literals = _IDS.split(recorded)
        self._ids = [
            _slot(found, session_id.encode(), prompt_id.encode()) for found in _IDS.findall(recorded)
        ]

    def of(self, session_id: bytes, prompt_id: bytes = b"", mark: bytes = b"", stamp: bytes = b"") -> bytes:
        """The bytes for a session.

        Args:
            session_id: Its id.
            prompt_id: That of its prompt.
            mark: What makes all other ids its own.
            stamp: What its deltas say, if the recording was made `stamped`.
        """
        own = {"session": session_id, "prompt": prompt_id, "stamp": stamp}
        stem = prompt_id.removeprefix(b"msg_")
        pieces = [self._literals[0]]
        for (kind, found), literal in zip(self._ids, self._literals[1:], strict=True):
            if kind == "part":
                pieces.append(b"prt_" + stem + found)
            else:
                pieces.append(found + mark if kind == "other" else own[kind])
            pieces.append(literal)
        return b"".join(pieces)


def _slot(found: bytes, session_id: bytes, prompt_id: bytes) -> tuple[str, bytes]:
    stem = b"prt_" + prompt_id.removeprefix(b"msg_")
    if found.startswith(stem):
        return "part", found.removeprefix(stem)
    return {session_id: "session", prompt_id: "prompt", _STAMP: "stamp"}.get(found, "other"), found


@dataclass(frozen=True)
class Recording:
    """What the real server said of one turn, and how it answered what a turn asks.

    Attributes:
        frames: Of its event stream, in order.
        idle: The number of the frame by which the session is not busy any more.
        answers: By the name of the request, the JSON.
        text: The answer's.
        seconds: What the turn took.
        deltas: How many of its frames are deltas.
    """

    frames: tuple[Template, ...]
    idle: int
    answers: Mapping[str, Template]
    text: str
    seconds: float
    deltas: int


def record(server: OpencodeServer, *, stamped: bool = False) -> Recording:
    """A turn with a thought, a tool call and sixty words.

    Args:
        server: The real one.
        stamped: Let the deltas say the time at which they are written, instead of the words.
    """
    stream, result = events.record(server)
    frames = [frame + b"\n\n" for frame in stream.split(b"\n\n") if frame]
    deltas = sum(1 for frame in frames if _TEXT.search(frame))
    if stamped:
        frames = [_TEXT.sub(rb'\1"' + _STAMP + b'"', frame) for frame in frames]
    ids = (str(result.session_id), str(result.prompt_id))
    made = new_session_id()
    rules = [{"permission": "*", "pattern": "*", "action": "allow"}]
    with httpx2.Client(base_url=server.url, auth=(server.username, server.password), trust_env=False) as bare:

        def answer(method: str, path: str, session_id: str, **more: object) -> Template:
            response = bare.request(method, path, **more).raise_for_status()
            return Template(response.content, session_id, ids[1])

        answers = {
            "create": answer("POST", "/api/session", made, json={"id": made}),
            "update": answer("PATCH", f"/session/{made}", made, json={"title": "bench", "permission": rules}),
            "get": answer("GET", f"/session/{ids[0]}", ids[0]),
            "message": answer("GET", f"/session/{ids[0]}/message/{ids[1]}", ids[0]),
            "messages": answer("GET", f"/session/{ids[0]}/message?limit=20", ids[0]),
        }
    return Recording(
        frames=tuple(Template(frame, *ids) for frame in frames),
        idle=next(number for number, frame in enumerate(frames) if _IDLE in frame),
        answers=answers,
        text=result.content,
        seconds=result.duration,
        deltas=deltas,
    )
