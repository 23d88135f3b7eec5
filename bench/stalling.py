"""The server stalls while 50 callers make 50 sessions: how long a query waits that has nothing to do with it.

Beside it the textbook's way, which holds the row's lock, and so a connection of the pool, around the request.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import Session as OrmSession

from bench.host import Base, Conversation, timed
from opencode_sessions import Client, OpencodeServer, Session, allow, new_session_id
from opencode_sessions.sqlalchemy import SQLAlchemyRecordStore

_CALLERS = 50
_POOL = 10
_STALL = 5.0
_BETWEEN_QUERIES = 0.02


def measure(server: OpencodeServer, url: str) -> list[tuple[str, ...]]:
    engine = create_engine(url, pool_size=_POOL, max_overflow=0, pool_timeout=60)
    Base.metadata.create_all(engine)
    rows = [("unrelated query", "queries", "median, ms", "longest, ms", f"all {_CALLERS} made, s")]
    with Client(server.url, password=server.password) as client:
        for name, make in (("ours", _ours), ("row lock held around the request", _textbook)):
            waits, seconds = _stalled(server, engine, client, make)
            longest, middle = max(waits) * 1e3, median(waits) * 1e3
            rows.append((name, str(len(waits)), f"{middle:.1f}", f"{longest:,.0f}", f"{seconds:.1f}"))
    engine.dispose()
    return rows


def _ours(engine: Engine, client: Client, key: int) -> None:
    store = SQLAlchemyRecordStore(Conversation, key, engine)
    Session(None, store=store, permissions_for=lambda _: [allow("*")]).ensure(client)


def _textbook(engine: Engine, client: Client, key: int) -> None:
    with OrmSession(engine) as db, db.begin():
        record = db.scalars(select(Conversation).filter_by(id=key).with_for_update()).one()
        if record.opencode_session_id is None:
            session = client.create(new_session_id(), title=record.title, rules=[allow("*")])
            record.opencode_session_id = session.id


def _stalled(
    server: OpencodeServer, engine: Engine, client: Client, make: Callable[[Engine, Client, int], None]
) -> tuple[list[float], float]:
    """How long each unrelated query took, and how long until all sessions stood."""
    with OrmSession(engine) as db:
        records = [Conversation() for _ in range(_CALLERS)]
        db.add_all(records)
        db.commit()
        keys = [record.id for record in records]
    waits: list[float] = []
    over = threading.Event()

    def query() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def watch() -> None:
        while not over.wait(_BETWEEN_QUERIES):
            waits.append(timed(query))

    watcher = threading.Thread(target=watch)
    began = time.perf_counter()
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(_CALLERS) as pool:
            made = [pool.submit(make, engine, client, key) for key in keys]
            time.sleep(0.2)  # they are at it
            watcher.start()
            time.sleep(_STALL - 0.2)
            os.killpg(server.pid, signal.SIGCONT)
            for each in made:
                each.result()
    finally:
        os.killpg(server.pid, signal.SIGCONT)
        over.set()
        watcher.join()
    return waits, time.perf_counter() - began
