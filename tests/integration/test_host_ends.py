"""A host that ends: what runs and what waits is left to others, and nothing is reported."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import pytest
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from opencode_sessions import READ_WRITE
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost, Host, HostSettings
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin, SQLAlchemyTurnTable

LONG = "!slow 0.05\n!say one two three four five six"


class Base(DeclarativeBase): ...


class Trip(RecordMixin, Base):
    __tablename__ = "trips"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="Lisbon")


class Leg(MessageMixin, Base):
    __tablename__ = "legs"

    id: Mapped[int] = mapped_column(primary_key=True)
    trip_id: Mapped[int] = mapped_column(ForeignKey("trips.id"))


@pytest.fixture
def database(tmp_path):
    """Its sync URL, with a trip in it."""
    url = f"sqlite:///{tmp_path}/trips.sqlite3"
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with sessionmaker(engine).begin() as db:
        db.add(Trip(id=1))
    engine.dispose()
    return url


@pytest.fixture
def settings(server):
    errors = []
    made = HostSettings(
        server=server.url,
        password=server.password,
        permissions_for=READ_WRITE,
        on_error=lambda error, context: errors.append((context.action, error)),
    )
    return made, errors


async def until(read, key, found):
    while True:
        if found(await read(key)):
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("behind", [0, 1])
def test_an_async_host_that_ends_releases_its_turns_to_the_next_one(database, settings, held, behind):
    made, errors = settings

    async def main():
        engine = create_async_engine(database.replace("sqlite:", "sqlite+aiosqlite:"))
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        host = AsyncHost(made, tables=[SQLAlchemyTurnTable(Leg, sessions)])

        async def leg(pk):
            async with sessions() as db:
                return await db.get_one(Leg, pk)

        async def enqueued(prompt):
            async with sessions.begin() as db:
                db.add(message := Leg(trip_id=1, prompt=prompt))
                await host.enqueue(message)
            return message.id

        async with host:
            turns = [await enqueued(LONG), *[await enqueued("hello") for _ in range(behind)]]
            await until(leg, turns[0], lambda turn: "four" in turn.content)
        assert [(await leg(turn)).status for turn in turns] == ["streaming", *["pending"] * behind]
        with pytest.raises(ConfigurationError, match="not started"):
            await enqueued("late")
        assert errors == []
        began = time.monotonic()
        async with host:
            held.set()
            await until(leg, turns[-1], lambda turn: turn.finished_at)
        assert time.monotonic() - began < 45  # no lease of a minute was waited for
        assert (await leg(turns[0])).content == "one two three four five six"
        assert errors == []
        await engine.dispose()

    asyncio.run(main())


def test_a_host_that_ends_releases_its_turn_to_the_next_one(database, settings, held):
    made, errors = settings
    with ExitStack() as stack:
        engine = create_engine(database)
        stack.callback(engine.dispose)
        sessions = sessionmaker(engine, expire_on_commit=False)
        host = Host(made, tables=[SQLAlchemyTurnTable(Leg, sessions)])

        def leg(pk):
            with sessions() as db:
                return db.get_one(Leg, pk)

        with host:
            with sessions.begin() as db:
                db.add(message := Leg(trip_id=1, prompt=LONG))
                host.enqueue(message)
            while "four" not in leg(message.id).content:
                time.sleep(0.05)
        with host:
            held.set()
            while not leg(message.id).finished_at:
                time.sleep(0.05)
        assert leg(message.id).content == "one two three four five six"
        assert errors == []
