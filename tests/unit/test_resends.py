"""Recovery while no worker is free: few jobs for one turn, and a job at once where a turn was left anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from host_models import Base, Conversation, Prompt
from sqlalchemy import create_engine, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from opencode_sessions.host import AsyncHost, Host, HostSettings
from opencode_sessions.jobs.dispatch import dispatch_abandoned
from opencode_sessions.jobs.resends import Resends
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable
from opencode_sessions.store.turn_table import TurnJob

JOB = TurnJob("prompts", "1", "", "conversations:1")
OTHER = TurnJob("prompts", "2", "", "conversations:2")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
EVERY, LONGEST = 15.0, 600.0


class Clock:
    """A clock that stands still between the looks."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def look(clock):
    """Look once, after the usual pause; the jobs that are due."""
    resends = Resends(clock)

    def look(*found, fails=()):
        clock.now += EVERY
        due = resends.due(found, LONGEST)
        for job in fails:
            resends.forget(job)
        return due

    return look


def test_turn_found_by_each_look_for_an_hour_is_sent_in_pauses_that_double_up_to_the_longest(look):
    sent = [number * EVERY for number in range(241) if look(JOB)]
    assert sent == [0, 15, 30, 60, 120, 240, 480, 960, 1560, 2160, 2760, 3360]


def test_turn_that_ran_between_two_looks_is_sent_at_once_when_it_is_left_again(look):
    for _ in range(30):
        look(JOB)
    assert look(JOB) == []
    assert look() == []
    assert look(JOB) == [JOB]


def test_turn_whose_job_could_not_be_sent_is_sent_at_the_next_look(look):
    assert [look(JOB, fails=[JOB]) for _ in range(10)] == [[JOB]] * 10


def test_new_turn_is_sent_at_once_beside_one_that_waits_for_its_pause(look):
    for _ in range(3):
        look(JOB)
    assert look(JOB, OTHER) == [OTHER]


def test_only_turns_of_the_last_look_are_remembered(clock):
    resends = Resends(clock)
    for number in range(1000):
        resends.due([TurnJob("prompts", str(number), "", "conversations:1"), JOB], LONGEST)
    assert len(resends._sent) == 2


class Queue:
    """A queue whose workers are all busy, and whose broker can be away."""

    pending_lease = LONGEST

    def __init__(self):
        self.sent, self.tries, self.away = [], 0, False

    def dispatch(self, job):
        self.tries += 1
        if self.away:
            raise ConnectionError("the broker is away")
        self.sent.append(job)

    async def adispatch(self, job):
        self.dispatch(job)


def add_abandoned(db):
    """A turn that has begun, and one that has not."""
    db.add_all([Conversation(id=1), Conversation(id=2)])
    db.flush()
    db.add(Prompt(id=1, conversation_id=1, prompt="begun", status="streaming", opencode_turn_lease=LONG_AGO))
    db.add(Prompt(id=2, conversation_id=2, prompt="new", opencode_turn_lease=LONG_AGO))
    db.commit()


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def blocking(queue, clock):
    """A host that blocks, with its engine."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as db:
        add_abandoned(db)
    settings = HostSettings(on_error=lambda error, context: None)
    host = Host(settings, tables=[SQLAlchemyTurnTable(Prompt, engine)], dispatcher=queue)
    host.resends = Resends(clock)
    with host:
        yield host, engine
    engine.dispose()


def test_begun_turn_is_sent_seldom_while_no_worker_takes_it_and_new_one_is_reserved(blocking, queue, clock):
    host, _ = blocking
    counts = []
    for _ in range(9):
        counts.append(run_sync(dispatch_abandoned(host)))
        clock.now += EVERY
    assert [job.pk for job in queue.sent] == ["1", "2", "1", "1", "1", "1"]
    assert counts == [2, 1, 1, 0, 1, 0, 0, 0, 1]


def test_new_turn_that_waits_for_its_pause_is_not_left_reserved(blocking, queue, clock):
    host, engine = blocking
    sent = []
    for number in range(5):
        run_sync(dispatch_abandoned(host))
        sent.append([job.pk for job in queue.sent].count("2"))
        if number < 3:  # its job comes to a worker that is told to end, and releases it
            with engine.begin() as connection:
                connection.execute(update(Prompt).where(Prompt.id == 2).values(opencode_turn_lease=LONG_AGO))
        clock.now += EVERY
    assert sent == [1, 2, 3, 3, 4]


def test_blocking_host_tries_each_look_while_the_broker_is_away_and_sends_once_it_is_back(
    blocking, queue, clock
):
    host, _ = blocking
    queue.away = True
    for number in range(10):
        run_sync(dispatch_abandoned(host))
        assert queue.tries == 2 * (number + 1)
        clock.now += EVERY
    queue.away = False
    run_sync(dispatch_abandoned(host))
    assert [job.pk for job in queue.sent] == ["1", "2"]


def test_async_host_tries_each_look_while_the_broker_is_away(queue, clock):
    async def main():
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(lambda connection: add_abandoned(Session(connection)))
        settings = HostSettings(on_error=lambda error, context: None)
        host = AsyncHost(settings, tables=[SQLAlchemyTurnTable(Prompt, engine)], dispatcher=queue)
        host.resends = Resends(clock)
        queue.away = True
        async with host:
            for number in range(6):
                await dispatch_abandoned(host)
                await asyncio.wait(host._tasks)
                assert queue.tries == 2 * (number + 1)
                clock.now += EVERY
        await engine.dispose()

    asyncio.run(main())
