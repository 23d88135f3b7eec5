"""One `ensure`: its requests and queries, and its time beside the bare HTTP calls and SQL that it needs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx2
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import Session as OrmSession

from opencode_sessions import Client, OpencodeServer, Session, allow, new_session_id
from opencode_sessions.sqlalchemy import RecordMixin

_ROUNDS = 40


class Base(DeclarativeBase):
    pass


class Conversation(RecordMixin, Base):
    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="bench")


class Counting(httpx2.HTTPTransport):
    requests = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        return super().handle_request(request)


def measure(server: OpencodeServer) -> list[tuple[str, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'bench.sqlite3'}")
        Base.metadata.create_all(engine)
        try:
            return _measure(server, engine)
        finally:
            engine.dispose()


def _measure(server: OpencodeServer, engine: Engine) -> list[tuple[str, ...]]:
    counting = Counting()
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    auth = (server.username, server.password)
    with (
        Client(server.url, password=server.password, transport=counting) as client,
        httpx2.Client(base_url=server.url, auth=auth, trust_env=False) as bare,
        OrmSession(engine, expire_on_commit=False) as db,
    ):
        rows = {"new": ([], [], (0, 0)), "found": ([], [], (0, 0))}
        for _ in range(_ROUNDS):
            record = Conversation()
            db.add(record)
            db.commit()
            session = Session(record, permissions_for=lambda _: [allow("*")])
            for name, by_hand in (("new", _bare_new), ("found", _bare_found)):
                ours, theirs, _ = rows[name]
                counting.requests = 0
                statements.clear()
                ours.append(_timed(session.ensure, client))
                rows[name] = (ours, theirs, (counting.requests, len(statements)))
                theirs.append(_timed(by_hand, bare, engine, record.id))
    return [
        ("ensure", "requests", "queries", "ms", "by hand, ms", "ratio"),
        *(_row(name, *what) for name, what in rows.items()),
    ]


def _row(name: str, ours: list[float], theirs: list[float], counts: tuple[int, int]) -> tuple[str, ...]:
    mine, bare = median(ours), median(theirs)
    requests, queries = counts
    return (name, str(requests), str(queries), f"{mine * 1e3:.2f}", f"{bare * 1e3:.2f}", f"{mine / bare:.2f}")


def _timed(call: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


def _bare_new(bare: httpx2.Client, engine: Engine, key: int) -> None:
    """The same two requests and the same statements, written out, with none of the promises."""
    session_id = new_session_id()
    _select(engine, key)
    _select(engine, key)
    _execute(engine, "UPDATE conversations SET title = title WHERE id = :id", id=key)
    bare.post("/api/session", json={"id": session_id}).raise_for_status()
    rules = [{"permission": "*", "pattern": "*", "action": "allow"}]
    body = {"title": "bench", "permission": rules, "metadata": {"namespace": "bench", "record": str(key)}}
    bare.patch(f"/session/{session_id}", json=body).raise_for_status()
    now = datetime.now(UTC).isoformat()
    _execute(engine, "UPDATE conversations SET title = :now WHERE id = :id", id=key, now=now)


def _bare_found(bare: httpx2.Client, engine: Engine, key: int) -> None:  # noqa: ARG001 - no request is needed
    _select(engine, key)


def _select(engine: Engine, key: int) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT * FROM conversations WHERE id = :id"), {"id": key}).one()


def _execute(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)
