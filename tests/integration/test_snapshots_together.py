"""Turns of one process that store their answers at the same time: in one transaction, and each with its own outcome."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from django.db import connections, transaction
from fix_django_app import connections_of_others, wait_until
from fix_stores import sqlalchemy_urls
from host_models import Prompt
from selection import sample
from sqlalchemy import text, update
from turn_table_benches import DjangoTurns, SQLAlchemyTurns

from opencode_sessions.store.messages import TurnStatus

MANY = 12

TABLES = [
    *(f"sqlalchemy-{name}-{api}" for name in ("wal", "postgres", "mariadb") for api in ("sync", "async")),
    "django-default",
    "django-postgres",
]


@pytest.fixture
def turns(request):
    """Turns that are being run by this process, in the database that the parameter names."""
    host, database, *api = request.param.split("-")
    if host == "django":
        request.getfixturevalue("nothing_left")
        running = Turns(DjangoTurns(request.getfixturevalue("chat"), database))
    else:
        urls = sqlalchemy_urls(request.getfixturevalue, database)
        running = Turns(SQLAlchemyTurns(*(urls if api == ["async"] else urls[:1])))
    yield running
    running.end()
    running.bench.close()


every_table = pytest.mark.parametrize(
    "turns",
    sample(TABLES, "sqlalchemy-wal-sync", "sqlalchemy-postgres-async", "django-postgres"),
    indirect=True,
)
postgres = pytest.mark.parametrize(
    "turns",
    sample(
        ["sqlalchemy-postgres-sync", "sqlalchemy-postgres-async", "django-postgres"],
        "sqlalchemy-postgres-async",
        "django-postgres",
    ),
    indirect=True,
)
blocking_with_row_locks = pytest.mark.parametrize(
    "turns",
    sample(["sqlalchemy-postgres-sync", "sqlalchemy-mariadb-sync", "django-postgres"], "django-postgres"),
    indirect=True,
)
django_on_postgres = pytest.mark.parametrize("turns", ["django-postgres"], indirect=True)
suspending = pytest.mark.parametrize(
    "turns",
    sample(["sqlalchemy-postgres-async", "sqlalchemy-wal-async"], "sqlalchemy-postgres-async"),
    indirect=True,
)


class Turns:
    """`MANY` turns that have begun."""

    def __init__(self, bench):
        self.bench = bench
        self.table = bench.table()
        self._at_work = ExitStack()
        for _ in range(MANY):
            self._at_work.enter_context(self.table.inside(""))
        self.messages = [bench.message_of(bench.record()) for _ in range(MANY)]
        self.stores = [self._store(message) for message in self.messages]
        self.states = [self._begun(store) for store in self.stores]

    def _store(self, message):
        copy = self.bench.copy(message)
        return self.table.store(self.table.job_of(copy), copy)

    def _begun(self, store):
        seen = self.bench.run(store.load())
        assert self.bench.run(store.take(seen, 60))
        return replace(seen, status=TurnStatus.STREAMING, epoch=seen.epoch + 1)

    def write(self, number, revision):
        """A coroutine: one of them stores what it has."""
        state = replace(self.states[number], content=f"{number}: {revision}", revision=revision)
        return self.stores[number].snapshot(state.epoch, state, 60)

    def write_all(self, revision):
        """All of them at once. Which writes counted?"""
        return self.bench.at_once([self._later(number, revision) for number in range(MANY)])

    def _later(self, number, revision):
        return lambda: self.write(number, revision)

    def contents(self):
        return [self.bench.copy(message).content for message in self.messages]

    def transactions(self):
        """How many wrote the rows as they are now."""
        if isinstance(self.bench, DjangoTurns):
            with connections["postgres"].cursor() as cursor:
                cursor.execute(
                    "SELECT count(DISTINCT xmin::text) FROM chat_message WHERE id = ANY(%s)", [self.messages]
                )
                return cursor.fetchone()[0]
        counted = text("SELECT count(DISTINCT xmin::text) FROM prompts WHERE id = ANY(:ids)")
        with self.bench.host.engine.connect() as connection:
            return connection.execute(counted, {"ids": self.messages}).scalar_one()

    @contextmanager
    def locked(self, number):
        """Inside, another transaction has a row."""
        if isinstance(self.bench, DjangoTurns):
            with transaction.atomic(using="postgres"):
                self.bench.write(self.messages[number], cost=0.5)
                yield
            return
        with self.bench.host.engine.begin() as connection:
            connection.execute(update(Prompt).where(Prompt.id == self.messages[number]).values(cost=0.5))
            yield

    def end(self):
        for store, state in zip(self.stores, self.states, strict=True):
            self.bench.run(store.finish(state.epoch, replace(state, status=TurnStatus.COMPLETED)))
        self._at_work.close()


@every_table
def test_what_turns_write_at_once_is_stored_for_each(turns):
    for revision in (1, 2, 3):
        assert turns.write_all(revision) == [True] * MANY
    assert turns.contents() == [f"{number}: 3" for number in range(MANY)]


@postgres
def test_what_turns_write_at_once_is_written_in_fewer_transactions(turns):
    revisions = iter(range(1, 1000))

    def shared():
        assert turns.write_all(next(revisions)) == [True] * MANY
        return turns.transactions() < MANY

    wait_until(shared)


@every_table
def test_a_turn_that_was_taken_is_refused_while_the_others_are_written(turns):
    turns.write_all(1)
    turns.bench.write(turns.messages[3], opencode_turn_epoch=7)
    assert turns.write_all(2) == [number != 3 for number in range(MANY)]
    assert turns.contents() == [f"{number}: {1 if number == 3 else 2}" for number in range(MANY)]


@postgres
def test_a_value_that_the_database_refuses_fails_its_own_turn_alone(turns):
    turns.write_all(1)
    turns.states[3] = replace(turns.states[3], input_tokens="many")

    def outcome(number):
        async def write():
            try:
                return await turns.write(number, 2)
            except Exception as error:  # noqa: BLE001 - each database has its own
                return error

        return write

    outcomes = turns.bench.at_once([outcome(number) for number in range(MANY)])
    turns.states[3] = replace(turns.states[3], input_tokens=0)
    assert isinstance(outcomes[3], Exception)
    assert [found for number, found in enumerate(outcomes) if number != 3] == [True] * (MANY - 1)


@blocking_with_row_locks
def test_a_locked_row_holds_up_no_other_turn(turns):
    turns.write_all(1)
    outcomes = []
    with turns.locked(3):
        writing = threading.Thread(target=lambda: outcomes.extend(turns.write_all(2)))
        writing.start()
        others = [f"{number}: {1 if number == 3 else 2}" for number in range(MANY)]
        wait_until(lambda: turns.contents() == others)
        assert writing.is_alive()
    writing.join()
    assert outcomes == [True] * MANY
    assert turns.contents() == [f"{number}: 2" for number in range(MANY)]


@django_on_postgres
def test_a_kept_connection_that_broke_fails_no_turn(turns):
    turns.write_all(1)
    turns.write_all(2)
    wait_until(lambda: connections_of_others() > 0)
    with connections["postgres"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount > 0
    assert turns.write_all(3) == [True] * MANY


@django_on_postgres
def test_few_connections_are_kept_until_fewer_than_two_turns_are_at_work(turns):
    turns.write_all(1)
    turns.write_all(2)
    wait_until(lambda: 1 <= connections_of_others() <= 4)
    turns.end()
    wait_until(lambda: connections_of_others() == 0)


@suspending
def test_a_cancelled_write_does_not_keep_a_turn_that_is_released_then(turns):
    async def cancel_one():
        tasks = [asyncio.create_task(turns.write(number, 1)) for number in range(MANY)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        await asyncio.wait({tasks[3]})
        assert await turns.stores[3].extend(turns.states[3].epoch, 0)
        await asyncio.gather(*tasks, return_exceptions=True)
        return await turns.stores[3].load()

    assert turns.bench.run(cancel_one()).abandoned
