"""`AsyncHost` with its own tasks: what is enqueued runs once, in order, and is left to others where this one ends."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import astuple
from datetime import UTC, datetime

import pytest
from host_models import Answer, Conversation, Prompt
from host_rows import PATIENCE, RULES, AsyncRows, Rows, open_connections, own_tasks, own_threads, urls_of
from selection import sample
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from opencode_sessions import ConfigurationError, TurnTakenError, allow
from opencode_sessions.aio import Answer as AskAnswer
from opencode_sessions.aio import Client, Session, Turn
from opencode_sessions.host import AsyncHost, HostSettings
from opencode_sessions.jobs.dispatch import arun_job
from opencode_sessions.jobs.task_pool import TaskPool
from opencode_sessions.store.turn_table import TurnJob

BASH = '!tool bash {"command": "echo hello", "description": "greets"}'
LONG = "!slow 0.05\n!say one two three four five six"
AT_ONCE = 50  # seconds, on a busy machine: the model is held for longer, and so is a lease
DATABASES = pytest.mark.parametrize("database", sample(["postgres", "sqlite"], "sqlite"))


@pytest.fixture
def url(request, tmp_path):
    params = getattr(request.node, "callspec", None)
    database = params.params.get("database", "sqlite") if params else "sqlite"
    return urls_of(request, tmp_path, database)[1]


@pytest.fixture
def run(server, url):
    """Call a test's coroutine function with its rows, in an event loop; nothing of ours is left after it."""

    def run(main):
        before = threading.enumerate()

        async def all_of_it():
            async with AsyncRows(server, url) as rows:
                await asyncio.wait_for(main(rows), 200)
                assert open_connections(rows.engine) == 0
            assert own_tasks() == []

        asyncio.run(all_of_it())
        deadline = time.monotonic() + PATIENCE
        while own_threads(before) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert own_threads(before) == []

    return run


@DATABASES
def test_a_message_is_answered_once_it_is_committed_and_not_if_that_is_rolled_back(run, database):
    async def main(rows):
        async with rows.host() as host:
            record = await rows.conversation()
            async with rows.sessions() as db:
                db.add(taken_back := Prompt(prompt="no", conversation_id=record))
                await host.enqueue(taken_back)
                await db.rollback()
            async with rows.sessions() as db:
                db.add(message := Prompt(prompt="hello", conversation_id=record))
                await host.enqueue(message)
                await host.enqueue(message)
                await asyncio.sleep(0.2)
                assert host._pool.idle
                await db.commit()
            row = await rows.ended(message)
            assert (row.status, row.content) == ("completed", 'You said: "hello".')
            assert [each.prompt for each in await rows.all()] == ["hello"]
        assert rows.told == []

    run(main)


def test_what_cannot_be_enqueued_is_refused_and_nothing_is_stored(run, server, request, tmp_path):
    async def main(rows):
        host = rows.host()
        record = await rows.conversation()
        cases = [
            (lambda db: Prompt(prompt="x", conversation_id=record), "not started", False),
            (lambda db: Answer(prompt="x"), "no model of this host's", True),
            (lambda db: Prompt(prompt="x"), "belongs to no record", True),
            (lambda db: Prompt(prompt="x", conversation_id=record), "attached to no ORM session", None),
        ]
        for make, said, started in cases:
            async with rows.sessions() as db:
                message = make(db)
                if started is not None:
                    db.add(message)
                if started is False:
                    with pytest.raises(ConfigurationError, match=said):
                        await host.enqueue(message)
                else:
                    async with host:
                        with pytest.raises(ConfigurationError, match=said):
                            await host.enqueue(message)
                await db.rollback()
        with Rows(server, str(rows.engine.url).replace("+aiosqlite", "")) as sync_rows:
            async with host:
                with sync_rows.sessions() as db:
                    db.add(message := Prompt(prompt="x", conversation_id=record))
                    with pytest.raises(ConfigurationError, match="attached to a sync Session"):
                        await host.enqueue(message)
        assert await rows.all() == []

    run(main)


def test_tables_that_do_not_go_with_a_host_are_refused(run, server):
    async def main(rows):
        settings = rows.settings()
        with pytest.raises(ConfigurationError, match="given are: none"):
            AsyncHost(settings, [])
        with pytest.raises(ConfigurationError, match=r"given are: .*Prompt"):
            AsyncHost(settings, [Prompt])
        for turns in (0, -1, "8", 1.5):
            with pytest.raises(ConfigurationError, match="turns must be a whole number"):
                rows.settings(turns=turns)
        assert AsyncHost(settings, rows.table()).table.places, "a table need not be put into a list"
        with pytest.raises(ConfigurationError, match="each once; given are: prompts, prompts"):
            AsyncHost(settings, [rows.table(), rows.table()])
        with Rows(server, "sqlite://") as sync_rows:
            with pytest.raises(ConfigurationError, match="must be made with an AsyncEngine"):
                AsyncHost(settings, [sync_rows.table()])

    run(main)


class Queue:
    """A queue of the host's own: it carries strings."""

    pending_lease = 60.0

    def __init__(self):
        self.jobs = asyncio.Queue()

    def dispatch(self, job):
        self.jobs.put_nowait(astuple(job))

    async def work(self, host):
        while True:
            await arun_job(host, TurnJob(*await self.jobs.get()))


@pytest.mark.full  # as with threads
def test_a_dispatcher_of_the_hosts_own_carries_jobs_to_its_worker(run):
    async def main(rows):
        queue = Queue()
        async with rows.host(dispatcher=queue) as host:
            record = await rows.conversation()
            messages = [await rows.send(host, f"hello {number}", record) for number in range(3)]
            asks = await rows.send(host, BASH, record)
            workers = [asyncio.create_task(queue.work(host)) for _ in range(2)]
            for message in messages:
                assert (await rows.ended(message)).status == "completed"
            row = await rows.until(asks, lambda row: row.opencode_turn_parked)
            await host.answer(row, row.asks[0]["id"], AskAnswer.once())
            assert (await rows.ended(asks)).status == "completed"
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
        assert rows.told == []

    run(main)


async def rules_of(record):
    return [allow("*")]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"permissions_for": rules_of}, "must not be async"),
        ({"permissions_for": "READ_WRITE"}, "a preset is a list itself, without quotes"),
        ({"permissions_for": allow("*")}, "this is a single rule"),
        ({"server": "127.0.0.1:4096"}, "the URL of the server"),
    ],
)
def test_settings_that_cannot_work_are_refused_where_they_are_written(wrong, says):
    with pytest.raises(ConfigurationError, match=says):
        HostSettings(**wrong)


def test_turn_options_that_are_wrong_fail_the_turn_in_words(run):
    async def main(rows):
        wrong = [
            (lambda message: {"agnet": "build"}, "says 'agnet', which Turn does not take"),
            (lambda message: None, "must return a dict"),
            (lambda message: {"model": 7}, "model"),
            (lambda message: 1 / 0, "division by zero"),
        ]
        for number, (options, said) in enumerate(wrong, 1):
            async with rows.host(turn_options=options) as host:
                row = await rows.ended(await rows.send(host, "hello"))
                assert row.status == "failed"
                assert said in row.error["message"]
                assert len(rows.told) == number
                action, error = rows.told[-1]
                assert (action, said in str(error)) == ("run", True)

    run(main)


def test_an_error_function_that_raises_stops_nothing(run):
    async def main(rows):
        def on_error(error, context):
            raise RuntimeError("no")

        async with rows.host(turn_options=lambda message: {}[message.prompt], on_error=on_error) as host:
            record = await rows.conversation()
            for _ in range(2):
                assert (await rows.ended(await rows.send(host, "hello", record))).status == "failed"

    run(main)


@DATABASES
def test_a_host_that_ends_leaves_its_turns_to_another_at_once(run, held, database):
    async def main(rows):
        record = await rows.conversation()
        first = rows.host()
        async with first:
            running = await rows.send(first, LONG, record)
            behind = await rows.send(first, "hello", record)
            await rows.until(running, lambda row: "four" in row.content)
            began = time.monotonic()
        assert time.monotonic() - began < AT_ONCE
        await first.__aexit__(None, None, None)
        with pytest.raises(ConfigurationError, match="not started"):
            _ = first.client
        async with rows.host():
            held.set()
            assert (await rows.ended(running)).content.strip() == "one two three four five six"
            assert (await rows.ended(behind)).status == "completed"
        assert rows.told == []

    run(main)


def test_turns_that_are_about_to_begin_when_the_host_ends_do_not_fail(run):
    async def main(rows):
        sent = []
        for _ in range(4):
            async with rows.host() as host:
                sent += [await rows.send(host, f"hello {number}") for number in range(2)]
        async with rows.host():
            assert [(await rows.ended(message)).status for message in sent] == ["completed"] * 8
        assert rows.told == []

    run(main)


def test_a_turn_that_is_found_while_the_pool_stops_is_released(run):
    async def main(rows):
        async with rows.host(recover=False) as host:
            pool, found, abandoned = TaskPool(host, 1), asyncio.Event(), host.table.abandoned
            message = await rows.add("hello", opencode_turn_lease=datetime(2020, 1, 1, tzinfo=UTC))

            async def slow(**options):
                jobs = await abandoned(**options)
                found.set()
                await asyncio.sleep(0.3)
                return jobs

            host.table.abandoned = slow
            pool.start()
            await found.wait()
            await pool.stop()
            assert [job.pk for job in await abandoned(reserve_for=60)] == [str(message.id)]

    run(main)


def test_a_host_starts_again_after_it_has_stopped(run):
    async def main(rows):
        host = rows.host()
        for _ in range(2):
            async with host:
                assert (await rows.ended(await rows.send(host, "hello"))).status == "completed"

    run(main)


def test_a_host_that_is_started_is_not_started_again(run):
    async def main(rows):
        async with rows.host() as host:
            with pytest.raises(ConfigurationError, match="is started already"):
                await host.__aenter__()
            assert (await rows.ended(await rows.send(host, "hello"))).status == "completed"

    run(main)


def test_one_host_serves_two_event_loops_one_after_another(server, url):
    rows = AsyncRows(server, url)
    host = rows.host()

    async def main():
        async with rows, host:
            message = await rows.send(host, LONG.replace("five", "5"))
            stream = _watch(host, message)
            frames = [frame async for frame in stream]
            assert b"completed" in frames[-1]
            assert (await rows.ended(message)).status == "completed"
        assert own_tasks() == []

    for _ in range(2):
        loop = asyncio.new_event_loop()  # which cancels nothing at its end
        loop.run_until_complete(main())
        loop.close()


def _watch(host, message):
    from opencode_sessions.starlette.turns import Turns  # noqa: PLC0415 - for this one

    return Turns(host, lambda *_: True, 60.0).events(message, {}).body_iterator


def test_no_more_turns_run_at_once_than_there_may_and_each_end_lets_the_next_one_begin(run):
    async def main(rows):
        async with rows.host(turns=1, recover=False) as host:
            sent = [await rows.send(host, f"hello {number}") for number in range(4)]
            began = time.monotonic()
            while (
                open_ := [row for row in await rows.all() if row.status in ("pending", "streaming")]
            ) != []:
                assert sum(row.status == "streaming" for row in open_) <= 1
                assert time.monotonic() - began < PATIENCE, [row.status for row in await rows.all()]
                await asyncio.sleep(0.02)
            assert {(await rows.row(message)).status for message in sent} == {"completed"}

    run(main)


def test_turns_that_wait_for_a_person_do_not_count_and_hold_nothing(run):
    async def main(rows):
        record = await rows.conversation()
        async with rows.host(turns=1) as host:
            waiting = [await rows.send(host, BASH, each) for each in (record, None)]
            behind = await rows.send(host, "hello", record)
            other = await rows.send(host, "hello")
            assert (await rows.ended(other)).status == "completed"
            parked = [await rows.until(message, lambda row: row.opencode_turn_parked) for message in waiting]
            await rows.until(behind, lambda row: row.opencode_turn_lease is None)
            await until(lambda: host._pool.idle)
            assert open_connections(rows.engine) == 0
            for row in parked:
                await host.answer(row, row.asks[0]["id"], AskAnswer.once())
            for message in (*waiting, behind):
                assert (await rows.ended(message)).status == "completed"
        assert rows.told == []

    run(main)


def test_turns_whose_function_waits_for_a_person_here_do_not_count_either(run):
    async def main(rows):
        asked, answers = asyncio.Semaphore(0), asyncio.Event()

        async def on_ask(ask):
            asked.release()
            await answers.wait()
            return AskAnswer.once()

        async with rows.host(turns=1, on_ask=on_ask) as host:
            waiting = [await rows.send(host, BASH) for _ in range(3)]
            for _ in waiting:
                await asyncio.wait_for(asked.acquire(), PATIENCE)
            assert (await rows.ended(await rows.send(host, "hello"))).status == "completed"
            await until(lambda: open_connections(rows.engine) == 0)  # but for the moments of a write
            answers.set()
            for message in waiting:
                assert (await rows.ended(message)).status == "completed"
            after = [await rows.send(host, f"hello {number}") for number in range(3)]
            for message in after:
                assert (await rows.ended(message)).status == "completed"
        assert rows.told == []

    run(main)


def test_a_host_that_ends_while_a_function_waits_for_a_person_leaves_that_to_another(run):
    async def main(rows):
        asked = asyncio.Event()

        async def on_ask(ask):
            asked.set()
            await asyncio.sleep(3600)

        async with rows.host(on_ask=on_ask) as host:
            message = await rows.send(host, BASH)
            await asyncio.wait_for(asked.wait(), PATIENCE)
            began = time.monotonic()
        assert time.monotonic() - began < AT_ONCE
        async with rows.host(on_ask=lambda ask: AskAnswer.once()):
            assert (await rows.ended(message)).status == "completed"

    run(main)


@pytest.mark.full
@DATABASES
def test_turns_of_a_record_run_in_the_order_in_which_they_were_enqueued(run, held, database):
    async def main(rows):
        records = [await rows.conversation() for _ in range(5)]
        async with rows.host(turns=8) as host, rows.host(turns=8) as other:
            sent = [await rows.send(host, LONG, record) for record in records]
            for (
                message
            ) in sent:  # the others find one that runs, so it is not their order of arrival that counts
                await rows.until(message, lambda row: "four" in row.content)

            async def send(number):
                return await rows.send((host, other)[number % 2], f"hello {number}", records[number % 5])

            sent += await asyncio.gather(*(send(number) for number in range(25)))
            held.set()
            ended = [await rows.ended(message) for message in sent]
            assert {row.status for row in ended} == {"completed"}
            for record in records:
                own = [row for row in ended if row.conversation_id == record]
                own.sort(key=lambda row: (row.opencode_turn_order, row.id))
                async with rows.sessions() as db:
                    session_id = (await db.get_one(Conversation, record)).opencode_session_id
                said = [each async for each in host.client.messages(session_id)]
                prompts = [each.parts[0]["text"] for each in reversed(said) if each.info.role == "user"]
                assert prompts == [row.prompt for row in own]
        assert rows.told == []

    run(main)


def test_turns_that_were_abandoned_are_taken_up(run, held, server):
    async def main(rows):
        record = await rows.conversation()
        pending = await rows.add("hello", record)
        streaming = await rows.add(LONG)
        async with rows.sessions() as db:
            db.add(pending)
            await rows.table().reserve(pending, -1.0)
            await db.commit()
        async with Client(server.url, password=server.password) as client:
            dies = asyncio.create_task(turn_of(rows, streaming, client).run())
            await rows.until(streaming, lambda row: "four" in row.content)
            await rows.write(streaming, opencode_turn_lease=datetime(2020, 1, 1, tzinfo=UTC))
            async with rows.host():
                assert (await rows.ended(pending)).status == "completed"
                await rows.until(streaming, lambda row: row.opencode_turn_epoch == 2)
                held.set()
                assert (await rows.ended(streaming)).content.strip() == "one two three four five six"
            with suppress(TurnTakenError):
                await dies

    run(main)


def turn_of(rows, message, client):
    table = rows.table()
    session = Session(message, permissions_for=RULES, store=table.record_store(message))
    return Turn(message, session, client, store=table.store(table.job_of(message), message))


@pytest.mark.parametrize("database", ["postgres"])
def test_a_database_that_is_away_for_a_while_costs_no_turn(run, database, postgres, caplog):
    async def main(rows):
        admin = create_async_engine(postgres.url("asyncpg"), isolation_level="AUTOCOMMIT")
        async with rows.host(recover=False) as host:
            waits = await rows.add("hello")
            pool = TaskPool(host, every=0.1)
            pool.start()
            await shut(admin, rows, True)
            await until(lambda: "cannot be looked for now" in caplog.text)
            with pytest.raises(DBAPIError):
                await rows.send(host, "not stored", 1)
            await shut(admin, rows, False)
            sent = await rows.send(host, "hello")
            async with rows.sessions() as db:
                db.add(waits)
                await rows.table().reserve(waits, -1.0)
                await db.commit()
            for message in (waits, sent):
                assert (await rows.ended(message)).status == "completed"
            await pool.stop()
        await admin.dispose()
        assert rows.told == []
        assert "Traceback" not in caplog.text

    run(main)


@pytest.mark.parametrize("database", ["postgres"])
def test_a_host_that_ends_while_the_database_is_away_ends_all_the_same(run, held, database, postgres, caplog):
    async def main(rows):
        admin = create_async_engine(postgres.url("asyncpg"), isolation_level="AUTOCOMMIT")
        async with rows.host() as host:
            messages = [await rows.send(host, LONG) for _ in range(3)]
            for message in messages:
                await rows.until(message, lambda row: "four" in row.content)
            await shut(admin, rows, True)
            began = time.monotonic()
        assert time.monotonic() - began < AT_ONCE
        await shut(admin, rows, False)
        await admin.dispose()
        held.set()
        for message in messages:
            assert (await rows.row(message)).status == "streaming"
            await rows.write(message, opencode_turn_lease=datetime(2020, 1, 1, tzinfo=UTC))
        async with rows.host():
            for message in messages:
                assert (await rows.ended(message)).content.strip() == "one two three four five six"

    run(main)


async def shut(admin, rows, away):
    """Whether the database takes connections; those that it has are lost."""
    name = rows.engine.url.database
    async with admin.connect() as connection:
        await connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {not away}')
        await connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )


async def until(found):
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def test_hosts_with_other_settings_for_the_same_rows_are_refused_when_they_start(run):
    async def main(rows):
        async with rows.host(), rows.host():
            other = rows.host(permissions_for=[allow("*")])
            with pytest.raises(ConfigurationError, match=r"other settings.*for the table prompts"):
                await other.__aenter__()
            assert rows.settings(permissions_for=RULES) is not None
        async with rows.host(permissions_for=[allow("*")]):
            pass

    run(main)
