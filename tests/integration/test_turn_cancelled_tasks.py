"""A task that runs a turn is cancelled, in each way that asyncio and anyio have: the row and the agent agree on it."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from selection import sample
from turn_observers import AtFirstWord

from opencode_sessions import READ_ONLY, Deadlines, aio
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord

SLOW = "!slow 0.5\n!say " + "word " * 200


def turn_of(message, record, client, **options):
    return aio.Turn(message, aio.Session(record, permissions_for=READ_ONLY), client, **options)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A cancelled task waits for its agent's end for as long as a busy machine takes."""
    monkeypatch.setattr("opencode_sessions.runtime.tasks._PATIENCE", 100)


async def by_anyio(turn_with):
    """As when the browser of a FastAPI request is gone: each await is cancelled, again and again."""
    with anyio.CancelScope() as scope:
        await turn_with(scope.cancel).run()
    assert scope.cancelled_caught


async def by_a_task_group(turn_with):
    async with anyio.create_task_group() as group:
        turn = turn_with(group.cancel_scope.cancel)
        group.start_soon(turn.run)


async def twice(turn_with):
    """By somebody who is impatient."""
    running = []

    def cancel():
        (task,) = running
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, task.cancel)

    running.append(asyncio.create_task(turn_with(cancel).run()))
    with pytest.raises(asyncio.CancelledError):
        await running[0]


async def by_nested_timeouts(turn_with):
    """Two that pass one right after the other."""
    loop = asyncio.get_running_loop()

    async def run():
        async with asyncio.timeout(None) as outer, asyncio.timeout(None) as inner:

            def pass_now():
                inner.reschedule(loop.time())
                outer.reschedule(loop.time() + 0.05)

            await turn_with(pass_now).run()

    with pytest.raises(TimeoutError):
        await run()


WAYS = [by_anyio, by_a_task_group, twice, by_nested_timeouts]
KINDS = [
    "django-sqlite-async",
    "sqlalchemy-sqlite-async",
    "django-postgres-async",
    "sqlalchemy-postgres-async",
]


@pytest.mark.parametrize("kind", sample(KINDS, "sqlalchemy-sqlite-async"))
@pytest.mark.parametrize("way", sample(WAYS, twice))
def test_a_cancelled_task_stops_its_agent_before_the_cancellation_goes_on(
    make_bench, kind, way, server, client
):
    rows = make_bench(kind)
    record, message = rows.record("Cancelled"), rows.message(SLOW)

    async def main():
        async with aio.Client(server.url, password=server.password) as waiting:
            await way(lambda act: turn_of(message, record, waiting, observer=AtFirstWord(act)))
            assert asyncio.all_tasks() - {asyncio.current_task()} == waiting.clock._tasks

    rows.run(main())
    row = rows.row(message)
    assert (row["status"], row["error"]["by"]) == ("cancelled", "runner")
    assert not client.busy(rows.row(record)["opencode_session_id"])
    assert row["content"].startswith("word")
    assert rows.row(record)["opencode_turn"] is None


def test_a_cancelled_task_does_not_wait_for_a_server_that_hangs(server, monkeypatch):
    monkeypatch.setattr("opencode_sessions.runtime.tasks._PATIENCE", 0.5)
    message, record = MemoryMessage(SLOW), MemoryRecord("A server that hangs")

    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            with anyio.CancelScope() as scope:

                def hang():
                    client.abort = client.busy = lambda *_, **__: asyncio.sleep(60)
                    scope.cancel()

                await turn_of(message, record, client, observer=AtFirstWord(hang)).run()

    asyncio.run(asyncio.wait_for(main(), 30))
    assert message.state.status == "cancelled"


def test_a_turn_that_is_cancelled_by_a_task_which_is_cancelled_too_stops_its_agent(server):
    message, record = MemoryMessage(SLOW), MemoryRecord("Twice cancelled")

    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            running = asyncio.create_task(turn_of(message, record, client).run())
            while not message.state.content:  # noqa: ASYNC110 - nobody tells what is in the row
                await asyncio.sleep(0.02)
            with anyio.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(scope.cancel)
                await turn_of(message, record, client).cancel(by="ada")
            assert scope.cancelled_caught
            assert not await client.busy(record.opencode_session_id)
            await running

    asyncio.run(main())
    assert (message.state.status, message.state.error["by"]) == ("cancelled", "ada")


class TellsOfTheEnd(MemoryMessageStore):
    """Tells that the end of the turn is being stored, or was stored; the first write takes a while."""

    def __init__(self, message, *, after):
        super().__init__(message)
        self.after = after
        self.told = asyncio.Event()

    async def finish(self, epoch, state):
        if self.after:
            stored = await super().finish(epoch, state)
            self.told.set()
            return stored
        if not self.told.is_set():
            self.told.set()
            await asyncio.sleep(60)
        return await super().finish(epoch, state)


@pytest.mark.parametrize("after", [False, True], ids=["while the end is stored", "right after that"])
def test_a_task_that_is_cancelled_when_its_turn_has_failed_stops_its_agent(server, after):
    message, record = MemoryMessage(SLOW), MemoryRecord("Failed and cancelled")

    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            store = TellsOfTheEnd(message, after=after)
            turn = turn_of(message, record, client, store=store, deadlines=Deadlines(total=2))
            running = asyncio.create_task(turn.run())
            await store.told.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not await client.busy(record.opencode_session_id)

    asyncio.run(main())
    assert (message.state.status, message.state.error["name"]) == ("failed", "TotalTimeoutError")


@pytest.mark.full
def test_tasks_that_are_all_cancelled_as_asyncio_run_does_at_its_end_stop_their_agents(server, client):
    messages = [MemoryMessage(SLOW) for _ in range(3)]
    records = [MemoryRecord(f"Conversation {number}") for number in range(3)]

    async def main():
        async with aio.Client(server.url, password=server.password) as waiting:
            running = [
                asyncio.create_task(turn_of(*each, waiting).run())
                for each in zip(messages, records, strict=True)
            ]
            while not all(message.state.content for message in messages):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            for task in asyncio.all_tasks() - {asyncio.current_task()} - waiting.clock._tasks:
                task.cancel()
            await asyncio.wait(running)

    asyncio.run(main())
    assert {message.state.status for message in messages} == {"cancelled"}
    assert not any(client.busy(record.opencode_session_id) for record in records)


def test_a_run_whose_coroutine_is_closed_stops_its_agent(server):
    message, record = MemoryMessage(SLOW), MemoryRecord("Closed")

    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            run = turn_of(message, record, client).run()
            run.send(None)
            while not message.state.content:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            run.close()
            while await client.busy(record.opencode_session_id):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(main(), 30))
    assert message.state.status == "cancelled"
