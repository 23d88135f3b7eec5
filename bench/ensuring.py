"""What one call costs: its requests and queries, and its time beside the bare HTTP calls and SQL that it needs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

import httpx2
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session as OrmSession

from bench.host import Base, Conversation, Counting, timed
from opencode_sessions import Client, OpencodeServer, Session, allow, new_session_id

_ROUNDS = 40


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
        rows: dict[str, tuple[list[float], list[float], tuple[int, int]]] = {}
        for _ in range(_ROUNDS):
            record = Conversation()
            db.add(record)
            db.commit()
            session = Session(record, permissions_for=lambda _: [allow("*")])
            calls = {
                "ensure, new": (session.ensure, _bare_new),
                "ensure, found": (session.ensure, _bare_found),
                "reconcile, unchanged": (session.reconcile, _bare_found),
                "recreate": (session.recreate, _bare_recreate),
            }
            for name, (call, by_hand) in calls.items():
                ours, theirs, _ = rows.setdefault(name, ([], [], (0, 0)))
                counting.requests = 0
                statements.clear()
                ours.append(timed(call, client))
                rows[name] = (ours, theirs, (counting.requests, len(statements)))
                theirs.append(timed(by_hand, bare, engine, record.id))
    return [
        ("one session", "requests", "queries", "ms", "by hand, ms", "ratio"),
        *(_row(name, *what) for name, what in rows.items()),
    ]


def _row(name: str, ours: list[float], theirs: list[float], counts: tuple[int, int]) -> tuple[str, ...]:
    mine, bare = median(ours), median(theirs)
    requests, queries = counts
    return (name, str(requests), str(queries), f"{mine * 1e3:.2f}", f"{bare * 1e3:.2f}", f"{mine / bare:.2f}")


def _bare_new(bare: httpx2.Client, engine: Engine, key: int) -> str:
    """The same two requests and the same statements, written out, with none of the promises."""
    session_id = new_session_id()
    _select(engine, key)
    _select(engine, key)
    _execute(engine, "UPDATE conversations SET title = title WHERE id = :id", id=key)
    bare.post("/api/session", json={"id": session_id}).raise_for_status()
    rules = [{"permission": "*", "pattern": "*", "action": "allow"}]
    body = {"title": "bench", "permission": rules, "metadata": {"namespace": "bench", "record": str(key)}}
    bare.patch(f"/session/{session_id}", json=body).raise_for_status()
    _execute(engine, "UPDATE conversations SET title = title WHERE id = :id", id=key)
    return session_id


def _bare_recreate(bare: httpx2.Client, engine: Engine, key: int) -> None:
    """A new one and the deletion of an old one; ours also stops what it runs and rejects what it asks."""
    bare.delete(f"/session/{_bare_new(bare, engine, key)}").raise_for_status()


def _bare_found(bare: httpx2.Client, engine: Engine, key: int) -> None:  # noqa: ARG001 - no request is needed
    _select(engine, key)


def _select(engine: Engine, key: int) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT * FROM conversations WHERE id = :id"), {"id": key}).one()


def _execute(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)
