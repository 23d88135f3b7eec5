"""What runs in the process of a FastAPI app: a server, and orders that are given."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection

import uvicorn
from fastapi import FastAPI
from host_models import Base, Conversation, Prompt
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from opencode_sessions import allow
from opencode_sessions.fastapi import AsyncHost, HostSettings, turn_router
from opencode_sessions.live.notifiers import notifier_at
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable

engine = create_async_engine(os.environ["BENCH_DATABASE"])
sessions = async_sessionmaker(engine, expire_on_commit=False)
opencode = AsyncHost(
    HostSettings(
        server=os.environ["BENCH_UPSTREAM"],
        permissions_for=lambda _: [allow("*")],
        turns=int(os.environ["BENCH_TURNS"]),
    ),
    tables=[SQLAlchemyTurnTable(Prompt, sessions)],
    notifier=notifier_at(os.environ["BENCH_NOTIFIER"]) if os.environ.get("BENCH_NOTIFIER") else None,
)
queried = [0]


def serve(pipe: Connection, listening: socket.socket) -> None:
    """Until it is terminated."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with opencode.lifespan(app):
            loop = asyncio.get_running_loop()
            threading.Thread(target=_obey, args=(pipe, loop), daemon=True).start()
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(turn_router(opencode, may_see=lambda _user, _message: True), prefix="/turns")
    uvicorn.Server(uvicorn.Config(app, ws="none", log_level="warning")).run([listening])


async def make(prompt: str, count: int) -> list[int]:
    """The keys of new messages, each of a record of its own."""
    async with sessions.begin() as db:
        made = [Prompt(prompt=prompt, conversation=Conversation(title="bench")) for _ in range(count)]
        db.add_all(made)
        await db.flush()
        return [each.id for each in made]


async def run(keys: list[int]) -> float:
    """Have their turns run. The seconds of CPU that this process had spent before."""
    spent = time.process_time()
    async with sessions.begin() as db:
        for message in await db.scalars(select(Prompt).where(Prompt.id.in_(keys))):
            await opencode.enqueue(message)
    return spent


async def wait() -> float:
    """For all turns to end. The seconds of CPU that this process has spent."""
    await asyncio.sleep(0.05)
    while not opencode.idle:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
    return time.process_time()


async def answers(keys: list[int]) -> list[tuple[str, str]]:
    """How they ended, and what they say."""
    async with sessions() as db:
        found = await db.execute(select(Prompt.status, Prompt.content).where(Prompt.id.in_(keys)))
        return [(status, content) for status, content in found]


async def queries() -> int:
    """How often this process has asked the database."""
    return queried[0]


_ORDERS = {order.__name__: order for order in (make, run, wait, answers, queries)}


@event.listens_for(engine.sync_engine, "before_cursor_execute")
def _count(*_: object) -> None:
    queried[0] += 1


@event.listens_for(engine.sync_engine, "connect")
def _wait_for_locks(connection: object, _: object) -> None:
    if engine.dialect.name == "sqlite":
        for pragma in ("journal_mode = WAL", "busy_timeout = 30000"):
            cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection
            cursor.execute(f"PRAGMA {pragma}")
            cursor.close()


def _obey(pipe: Connection, loop: asyncio.AbstractEventLoop) -> None:
    while True:
        name, arguments = pipe.recv()
        pipe.send(asyncio.run_coroutine_threadsafe(_ORDERS[name](*arguments), loop).result())
