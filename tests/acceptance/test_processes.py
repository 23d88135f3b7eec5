"""Promise 1 with whole processes: whoever ensures one row gets one id, and one session exists."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import Session as Database

from opencode_sessions import Session, allow
from opencode_sessions.sqlalchemy import RecordMixin

WORKER = """
import json, sys
from sqlalchemy import create_engine, text
from opencode_sessions import Client, Session, allow
from opencode_sessions.sqlalchemy import RecordMixin, SQLAlchemyRecordStore
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): ...
class Trip(RecordMixin, Base):
    __tablename__ = "trips"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]

store = SQLAlchemyRecordStore(Trip, int(sys.argv[2]), create_engine(sys.argv[1]))
with Client() as client:
    session = Session(None, store=store, permissions_for=lambda trip: [allow("*")])
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps([session.ensure(client), session.just_created]), flush=True)
"""


class Base(DeclarativeBase): ...


class Trip(RecordMixin, Base):
    __tablename__ = "trips"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'trips.sqlite3'}"
    postgres = request.getfixturevalue("postgres")
    return postgres.url("psycopg", postgres.create_database())


@pytest.fixture
def database(url):
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with Database(engine, expire_on_commit=False) as database:
        yield database
    engine.dispose()


@pytest.fixture
def trip(database):
    trip = Trip(title="Lisbon")
    database.add(trip)
    database.commit()
    return trip


@pytest.fixture
def start(server, url, trip):
    """Starts a worker that ensures the trip's session when it is let go."""
    started = []

    def start():
        reach = {"OPENCODE_BASE_URL": server.url, "OPENCODE_SERVER_PASSWORD": server.password}
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, url, str(trip.id)],
            env=os.environ | reach,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.communicate()


def let_go(workers):
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()


def made_for(client, trip):
    """The sessions on the server that may be the trip's: those of its title."""
    return [info.id for info in client.list(search="Lisbon", all_directories=True) if _is_of(info, trip)]


def _is_of(info, trip):
    return (
        info.metadata.get("record") == f"trips:{trip.id}"
        and info.metadata.get("namespace") == "opencode-sessions"
    )


def test_processes_that_are_released_together_get_one_session(client, database, trip, start):
    before = set(made_for(client, trip))
    workers = [start() for _ in range(8)]
    let_go(workers)
    results = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 8
    (session_id,) = {found for found, _ in results}
    assert [created for _, created in results].count(True) == 1
    assert set(made_for(client, trip)) - before == {session_id}
    database.refresh(trip)
    assert trip.opencode_session_id == session_id


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.008, 0.016, 0.03])
def test_what_a_killed_process_leaves_is_finished_by_the_next(client, database, trip, start, delay):
    before = set(made_for(client, trip))
    victim = start()
    let_go([victim])
    time.sleep(delay)
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)
    session_id = Session(trip, permissions_for=lambda _: [allow("*")]).ensure(client)
    assert client.get(session_id).rules
    assert set(made_for(client, trip)) - before == {session_id}
    database.refresh(trip)
    assert trip.opencode_session_id == session_id
    assert trip.opencode_session_ready_at is not None
