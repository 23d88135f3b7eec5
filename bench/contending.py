"""64 callers on one row that has no session yet: what they cost together, beside one caller alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session as OrmSession

from bench.host import Base, Conversation, Counting, timed
from opencode_sessions import Client, OpencodeServer, Session, allow
from opencode_sessions.sqlalchemy import SQLAlchemyRecordStore

_CALLERS = (1, 8, 64)
_ROUNDS = 7


def measure(server: OpencodeServer, url: str) -> list[tuple[str, ...]]:
    engine = create_engine(url, pool_size=max(_CALLERS))
    Base.metadata.create_all(engine)
    counting = Counting()
    transactions: list[object] = []
    event.listen(engine, "begin", transactions.append)
    rows = [("callers of ensure", "requests", "transactions", "ms until all have it", "ratio to one")]
    alone = 0.0
    with Client(server.url, password=server.password, transport=counting) as client:
        for callers in _CALLERS:
            _round(engine, client, callers)  # opens the connections
            seconds, requests, begun = [], [], []
            for _ in range(_ROUNDS):
                counting.requests = 0
                transactions.clear()
                seconds.append(_round(engine, client, callers))
                requests.append(counting.requests)
                begun.append(len(transactions))
            alone = alone or median(seconds)
            counts = (f"{median(requests):.0f}", f"{median(begun):.0f}")
            rows.append(
                (str(callers), *counts, f"{median(seconds) * 1e3:.0f}", f"{median(seconds) / alone:.1f}")
            )
    engine.dispose()
    return rows


def _round(engine: Engine, client: Client, callers: int) -> float:
    with OrmSession(engine) as db:
        record = Conversation()
        db.add(record)
        db.commit()
        key = record.id
    released = threading.Barrier(callers + 1)

    def ensure(_: int) -> str:
        store = SQLAlchemyRecordStore(Conversation, key, engine)
        session = Session(None, store=store, permissions_for=lambda _: [allow("*")])
        released.wait()
        return session.ensure(client)

    with ThreadPoolExecutor(callers) as pool:
        results = [pool.submit(ensure, number) for number in range(callers)]
        released.wait()
        seconds = timed(lambda: [result.result() for result in results])
    if len({result.result() for result in results}) != 1:
        raise RuntimeError("they got different sessions")
    return seconds
