"""What one turn reads upstream, asks and queries, at the end of a short conversation and of a long one."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from sqlalchemy import Engine, ForeignKey, create_engine, event, insert
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm import Session as OrmSession

from bench.host import Base, Conversation
from bench.upstream import EVENTS, Upstream
from opencode_sessions import Client, OpencodeServer, Session, Turn, TurnResult, allow
from opencode_sessions.sqlalchemy import MessageMixin

_CONVERSATIONS = ((10, 80), (30, 40_000), (2_000, 80))
"""So many messages, and the characters of each that is only written down."""

_TURNS = 4
"""Real ones, of two messages each, at the end of what is only written down; the next one is measured."""

_PROMPT = "What do you say to that?"
_LATE = 0.5
"""Seconds until what the server says after a turn has come."""


class Message(MessageMixin, Base):
    __tablename__ = "conversation_messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))


def measure(server: OpencodeServer) -> list[tuple[str, ...]]:
    rows = [("messages before it", "requests", "bytes of answers", "of events", "queries", "bytes, ratio")]
    first = 0
    upstream = Upstream()
    with (
        _engine() as engine,
        Client(server.url, password=server.password, transport=upstream) as client,
        OrmSession(engine, expire_on_commit=False) as db,
    ):
        for length, characters in _CONVERSATIONS:
            statements: list[str] = []
            record = _conversation(db, server, client, length, characters)
            event.listen(engine, "before_cursor_execute", lambda *call, kept=statements: kept.append(call[2]))
            upstream.clear()
            _turn(db, client, record)
            requests = upstream.asked.total()
            events, everything = upstream.read[EVENTS], upstream.read.total()
            first = first or everything
            counts = (requests, everything - events, events, len(statements))
            rows.append(
                (
                    f"{length:,} of {characters:,} characters",
                    *(f"{count:,}" for count in counts),
                    f"{everything / first:.2f}",
                )
            )
    return rows


@contextmanager
def _engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'bench.sqlite3'}")
        Base.metadata.create_all(engine)
        yield engine
        engine.dispose()


def _conversation(
    db: OrmSession, server: OpencodeServer, client: Client, length: int, characters: int
) -> Conversation:
    """One of so many messages, on the server as in the host's table."""
    chance = random.Random(0)
    record = Conversation()
    db.add(record)
    db.commit()
    session_id = _session(record).ensure(client)
    written = length - 2 * _TURNS
    auth = (server.username, server.password)
    with httpx2.Client(base_url=server.url, auth=auth, trust_env=False, timeout=60) as bare:
        for _ in range(written):
            said = chance.randbytes(characters // 2).hex()  # which cannot be compressed much
            body = {"noReply": True, "parts": [{"type": "text", "text": said}]}
            bare.post(f"/session/{session_id}/message", json=body).raise_for_status()
    told = {"conversation_id": record.id, "prompt": _PROMPT, "status": "completed"}
    db.execute(insert(Message), [told] * written)
    db.commit()
    for _ in range(_TURNS):
        _turn(db, client, record)
    return record


def _turn(db: OrmSession, client: Client, record: Conversation) -> TurnResult:
    message = Message(conversation_id=record.id, prompt=_PROMPT)
    db.add(message)
    db.commit()
    result = Turn(message, _session(record), client).run()
    if not result.content:
        raise RuntimeError(f"the turn went wrong: {result}")
    time.sleep(_LATE)
    return result


def _session(record: Conversation) -> Session:
    return Session(record, permissions_for=lambda _: [allow("*")])
