"""A database that fails in the middle of a turn, or says too late that it has not."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest
from fix_cli import eventually

from opencode_sessions import IN_THE_ROW, Answer, Deadlines, Observer, Session, Turn, aio, allow, ask
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord, MemoryRecordStore
from opencode_sessions.store.messages import TurnStatus

BASH = '!tool bash {"command": "true", "description": "run"}\n!say done'


class AwayError(Exception):
    """What a database's driver raises."""


class Away(MemoryMessageStore):
    """One call of it fails once.

    Args:
        message: The row.
        call: Its name.
        late: It fails when it has done its work.
    """

    def __init__(self, message, call, *, late=False):
        super().__init__(message)
        self._call, self._late, self.failed = call, late, False

    async def snapshot(self, epoch, state, lease):
        write = super().snapshot
        return await self._try("snapshot", lambda: write(epoch, state, lease), fails=bool(state.asks))

    async def take(self, seen, lease):
        write = super().take
        return await self._try("take", lambda: write(seen, lease))

    async def finish(self, epoch, state):
        write = super().finish
        return await self._try("finish", lambda: write(epoch, state))

    async def _try(self, call, write, *, fails=True):
        if call != self._call or self.failed or not fails:
            return await write()
        self.failed = True
        if self._late:
            await write()
        raise AwayError


@pytest.fixture
def record():
    return MemoryRecord("A turn on a database that fails")


def session_of(record, *rules, kind=Session):
    return kind(record, permissions_for=lambda _: [allow("*"), *rules], on_error=lambda *_: None)


def next_turn(record, client):
    return Turn(MemoryMessage("and then"), session_of(record), client).run()


def test_an_ask_that_could_not_be_stored_is_stored_soon(client, record):
    message = MemoryMessage(BASH)
    store = Away(message, "snapshot")
    turn = Turn(message, session_of(record, ask("bash")), client, on_ask=IN_THE_ROW, store=store)
    running = threading.Thread(target=turn.run)
    running.start()
    eventually(lambda: message.state.asks, seconds=60)
    assert store.failed
    turn.answer(message.state.asks[0]["id"], Answer.once())
    running.join(60)
    assert message.state.content == "done"


def test_an_end_that_was_stored_though_the_answer_was_lost_lets_the_next_turn_in(client, record):
    message = MemoryMessage("hello")
    result = Turn(message, session_of(record), client, store=Away(message, "finish", late=True)).run()
    assert result.status is message.state.status is TurnStatus.COMPLETED
    assert next_turn(record, client).status is TurnStatus.COMPLETED


def test_a_turn_that_could_not_be_taken_lets_the_next_one_in(client, record):
    message = MemoryMessage("hello")
    with pytest.raises(AwayError):
        Turn(message, session_of(record), client, store=Away(message, "take")).run()
    assert message.state.status is TurnStatus.PENDING
    assert next_turn(record, client).status is TurnStatus.COMPLETED


class Slow(MemoryMessageStore):
    """Takes its time over the end."""

    def __init__(self, message):
        super().__init__(message)
        self.began = asyncio.Event()

    async def finish(self, epoch, state):
        self.began.set()
        await asyncio.sleep(0.1)
        return await super().finish(epoch, state)


class AwayForAMoment(Slow):
    """Fails at first, so that the end is stored after a pause."""

    async def finish(self, epoch, state):
        if not self.began.is_set():
            self.began.set()
            raise AwayError
        return await super().finish(epoch, state)


@pytest.mark.parametrize("kind", [Slow, AwayForAMoment])
def test_a_task_that_is_cancelled_while_the_end_is_stored_stores_it(server, record, kind):
    message = MemoryMessage("hello")

    async def run_and_cancel():
        store = kind(message)
        async with aio.Client(server.url, password=server.password) as client:
            turn = aio.Turn(message, session_of(record, kind=aio.Session), client, store=store)
            task = asyncio.create_task(turn.run())
            await store.began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run_and_cancel())
    assert (message.state.status, message.state.content) == (TurnStatus.COMPLETED, 'You said: "hello".')
    assert run_sync(MemoryRecordStore(record).claim("another", 1)) is None


class Sees(Observer):
    def __init__(self):
        self.reply = lambda: None

    def changed(self, change, reply):
        self.reply = weakref.ref(reply)


def test_nothing_of_an_answer_is_kept_once_its_turn_has_ended(client, record):
    sees = Sees()
    gc.disable()
    try:
        Turn(MemoryMessage("hello"), session_of(record), client, observer=sees).run()
        assert sees.reply() is None
    finally:
        gc.enable()


class Refusing(MemoryMessageStore):
    """Refuses each answer that is not whole, as a constraint of a column does."""

    def __init__(self, message):
        super().__init__(message)
        self.extended = 0

    async def snapshot(self, epoch, state, lease):
        raise ValueError("out of range")

    async def extend(self, epoch, lease):
        self.extended += 1
        return await super().extend(epoch, lease)


def test_a_runner_whose_snapshots_the_database_refuses_keeps_its_turn(client, record, held):
    message = MemoryMessage("!say one two three four five six")
    store = Refusing(message)
    turn = Turn(message, session_of(record), client, store=store, deadlines=Deadlines(lease=600))
    running = threading.Thread(target=turn.run)
    running.start()
    try:
        before = 1  # right before the prompt is sent
        eventually(lambda: store.extended > before + 1, seconds=60)
    finally:
        held.set()
        running.join(60)
    assert message.state.status is TurnStatus.COMPLETED
