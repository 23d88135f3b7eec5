"""A host with asyncio and SQLAlchemy, without Django: turns of the real server, watched as JSON."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from fix_django_app import held_words
from host_models import Base, Conversation, Prompt
from json_client import JsonClient
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from watched_rows import until

from opencode_sessions import READ_ONLY, aio
from opencode_sessions.frontends.display_json import JSON
from opencode_sessions.live import LiveHub, LiveObserver, RenderContext, WatchRequest, astream
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable
from opencode_sessions.store.turn_table import TurnRow

SAID = "one two three four five six seven eight nine ten"
READERS = 3


@asynccontextmanager
async def saved(path):
    """A table on a file, and a record and a message in it."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as database:
        database.add(record := Conversation(title="watched"))
        await database.flush()
        database.add(message := Prompt(prompt=f"!say {SAID}", conversation_id=record.id))
        await database.commit()
        yield SQLAlchemyTurnTable(Prompt, engine), record, message
    await engine.dispose()


async def read(hub, key, row, client):
    request = WatchRequest(key=key, row=row, context=RenderContext(), encoder=JSON, has=client.last_id)
    async for said in astream(hub, request):
        client.take(said)


@pytest.fixture
def words():
    """The model says none before it may."""
    with held_words() as words:
        yield words


async def let_them_see(words, clients):
    """The first words one by one, as soon as all who watch show the one before; then the rest."""
    for number, word in enumerate(SAID.split()[:4], 1):
        words.up_to(number)
        await until(lambda word=word: all(word in shown(client) for client in clients))
    words.all()


def shown(client):
    return "".join(part["markdown"] for part in client.state["parts"]) if client.state else ""


@pytest.mark.parametrize("here", [True, False], ids=["as it grows", "from its row"])
def test_all_who_watch_a_turn_see_it_grow_and_end_as_its_row_has_it(server, tmp_path, words, here):
    clients = [JsonClient() for _ in range(READERS)]

    async def main():
        async with (
            saved(tmp_path / "host.sqlite3") as (table, record, message),
            aio.Client(server.url, password=server.password) as client,
        ):
            hub, key = LiveHub(table, Tasks()), table.key_of(message)
            session = aio.Session(record, permissions_for=READ_ONLY)
            observer = LiveObserver(hub, key) if here else None
            turn = aio.Turn(message, session, client, observer=observer)
            row = TurnRow.of(message)
            async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
                for each in clients:
                    tasks.create_task(read(hub, key, row, each))
                tasks.create_task(turn.run())
                tasks.create_task(let_them_see(words, clients))
            return await table.row(key)

    row = asyncio.run(main())
    for client in clients:
        assert client.end == "completed"
        assert client.last_id == row.revision
        assert [part["markdown"] for part in client.state["parts"]] == [SAID] == [row.content]
        assert client.events.count("text") >= 3, "it did not grow"
        assert client.events.count("part") <= 2, "it was sent again and again"
