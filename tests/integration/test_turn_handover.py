"""A runner that ends hands its turn over: the agent works on, and the next runner stores the one answer."""

from __future__ import annotations

import asyncio
import os
import threading

import anyio
import pytest
from fix_cli import eventually
from selection import sample
from turn_observers import AtFirstWord
from turn_runners import run_turn

from opencode_sessions import READ_ONLY, Client, ConfigurationError, Session, Turn, TurnReleasedError, aio
from opencode_sessions.store import claims
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

SAID = "one two three four five six"
HELD = f"!say {SAID}"
LEASE = 300  # seconds: longer than any test is to take


@pytest.fixture
def record():
    return MemoryRecord("A turn that is handed over")


def turn_of(message, record, client, **options):
    return Turn(message, Session(record, permissions_for=READ_ONLY), client, **options)


def async_turn_of(message, record, client, **options):
    return aio.Turn(message, aio.Session(record, permissions_for=READ_ONLY), client, **options)


def assert_handed_over(message, record, client, held):
    """Nobody holds the turn, its agent was left alone, and the next runner gets the one answer."""
    assert (message.state.status, message.state.abandoned) == (TurnStatus.STREAMING, True)
    assert client.busy(record.opencode_session_id)
    held.set()
    result = turn_of(message, record, client).run()
    assert (result.status, result.content, result.error) == (TurnStatus.COMPLETED, SAID, None)
    prompts = [each for each in client.messages(result.session_id) if each.info.role == "user"]
    assert [each.info.id for each in prompts] == [result.prompt_id]


def end_process():
    raise SystemExit


def test_a_turn_that_system_exit_breaks_into_is_handed_over(client, record, held):
    message = MemoryMessage(HELD)
    with pytest.raises(SystemExit):
        turn_of(message, record, client, observer=AtFirstWord(end_process)).run()
    assert_handed_over(message, record, client, held)


@pytest.mark.full
def test_an_async_turn_that_system_exit_breaks_into_is_handed_over(server, client, record, held):
    message = MemoryMessage(HELD)

    async def main():
        async with aio.Client(server.url, password=server.password) as waiting:
            await async_turn_of(message, record, waiting, observer=AtFirstWord(end_process)).run()

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert_handed_over(message, record, client, held)


@pytest.mark.parametrize(
    "kind",
    sample(
        [
            "sqlalchemy-postgres-sync",
            "django-postgres-sync",
            "django-sqlite-sync",
            "sqlalchemy-sqlite-async",
            "django-postgres-async",
        ],
        "django-sqlite-sync",
    ),
)
def test_a_process_whose_signal_handler_exits_hands_its_turn_over(make_bench, kind, server, runners, held):
    rows = make_bench(kind)
    record, message = rows.record("Elsewhere"), rows.message(HELD)
    # At SystemExit asyncio.run cancels all tasks.
    runner = runners.start(rows, server, message, record, lease=LEASE, on_cancel="release")
    eventually(lambda: rows.row(message)["content"])
    runners.end(runner)
    assert rows.row(message)["status"] == "streaming"
    held.set()
    result = rows.run(run_turn(rows, (server.url, server.password), message, record))
    assert (result.status, result.content, result.error) == (TurnStatus.COMPLETED, SAID, None)
    assert rows.row(message)["opencode_turn_epoch"] == 2


# -- release ---------------------------------------------------------------------------------------------


def running(turn):
    """A thread that runs it, and what it came to."""
    came_to = []

    def main():
        try:
            came_to.append(turn.run())
        except TurnReleasedError as error:
            came_to.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    return thread, came_to


def test_a_turn_that_another_thread_releases_goes_on_with_the_next_runner(client, record, held):
    message = MemoryMessage(HELD)
    turn = turn_of(message, record, client)
    thread, came_to = running(turn)
    eventually(lambda: message.state.content)
    turn.release()
    assert message.state.abandoned
    thread.join(60)
    assert isinstance(came_to[0], TurnReleasedError)
    assert_handed_over(message, record, client, held)


@pytest.mark.full
def test_an_async_turn_that_another_task_releases_goes_on_with_the_next_runner(server, client, record, held):
    message = MemoryMessage(HELD)

    async def main():
        async with aio.Client(server.url, password=server.password) as waiting:
            turn = async_turn_of(message, record, waiting)
            task = asyncio.create_task(turn.run())
            while not message.state.content:  # noqa: ASYNC110 - nobody tells what is in the row
                await asyncio.sleep(0.02)
            await turn.release()
            assert message.state.abandoned
            with pytest.raises(TurnReleasedError):
                await asyncio.wait_for(task, 60)

    asyncio.run(main())
    assert_handed_over(message, record, client, held)


def test_release_waits_for_a_write_that_would_set_the_lease_again(client, record, held):
    message, writes, go = MemoryMessage(HELD), threading.Event(), threading.Event()

    class Slow(MemoryMessageStore):
        async def snapshot(self, *what):
            writes.set()
            assert go.wait(60)
            return await super().snapshot(*what)

    turn = turn_of(message, record, client, store=Slow(message))
    thread, came_to = running(turn)
    assert writes.wait(60)
    releasing = threading.Thread(target=turn.release)
    releasing.start()
    releasing.join(0.3)
    assert releasing.is_alive()
    go.set()
    releasing.join(60)
    assert message.state.abandoned
    thread.join(60)
    assert isinstance(came_to[0], TurnReleasedError)
    assert_handed_over(message, record, client, held)


def test_a_runner_that_is_released_leaves_the_record_to_one_that_has_the_turn_already(client, record, held):
    message = MemoryMessage(HELD)

    class TakenAtOnce(MemoryMessageStore):
        async def snapshot(self, epoch, state, lease):
            if not lease:  # the last one, of a runner that is released
                assert await super().take(await super().load(), LEASE)
            return await super().snapshot(epoch, state, lease)

    turn = turn_of(message, record, client, store=TakenAtOnce(message))
    thread, _ = running(turn)
    eventually(lambda: message.state.content)
    turn.release()
    thread.join(60)
    assert not thread.is_alive()
    assert claims.holder_of(record.turn) == MemoryMessageStore(message).key
    held.set()


def test_a_turn_that_waits_for_another_is_released_and_stays_pending(client, record, held):
    first, second = MemoryMessage(HELD), MemoryMessage("me too")
    thread, came_to = running(turn_of(first, record, client))
    eventually(lambda: first.state.content)
    turn = turn_of(second, record, client, when_busy="wait")
    waiting, second_came_to = running(turn)
    waiting.join(0.3)
    turn.release()
    waiting.join(60)
    assert isinstance(second_came_to[0], TurnReleasedError)
    assert second.state.status is TurnStatus.PENDING
    held.set()
    thread.join(60)
    assert came_to[0].content == SAID
    with pytest.raises(TurnReleasedError):
        turn.run()
    assert turn_of(second, record, client).run().status is TurnStatus.COMPLETED


def test_what_is_released_while_its_session_is_made_is_found_by_the_next_recovery(client, record):
    message = MemoryMessage("hello")

    def release(*_):
        turn.release()
        return READ_ONLY

    turn = Turn(message, Session(record, permissions_for=release), client)
    with pytest.raises(TurnReleasedError):
        turn.run()
    assert (message.state.abandoned, message.state.prompt_id) == (True, None)
    assert turn_of(message, record, client).run().content == 'You said: "hello".'


def test_release_leaves_a_turn_that_has_ended_or_is_run_elsewhere_as_it_is(client, record, held):
    message = MemoryMessage(HELD)
    thread, came_to = running(turn_of(message, record, client))
    eventually(lambda: message.state.content)
    turn_of(message, record, client).release()
    assert not message.state.abandoned
    held.set()
    thread.join(60)
    turn_of(message, record, client).release()
    assert (came_to[0].status, message.state.status) == (TurnStatus.COMPLETED, TurnStatus.COMPLETED)


def test_a_client_that_is_closed_hands_its_turns_over(server, client, record, held):
    message, closing = MemoryMessage(HELD), Client(server.url, password=server.password)
    thread, came_to = running(turn_of(message, record, closing))
    eventually(lambda: message.state.content)
    closing.close()
    assert message.state.abandoned
    thread.join(60)
    assert isinstance(came_to[0], TurnReleasedError)
    assert "its client was closed" in str(came_to[0])
    assert_handed_over(message, record, client, held)


def test_an_async_client_that_is_closed_hands_its_turns_over(server, client, record, held):
    message = MemoryMessage(HELD)

    async def main():
        async with aio.Client(server.url, password=server.password) as closing:
            task = asyncio.create_task(async_turn_of(message, record, closing).run())
            while not message.state.content:  # noqa: ASYNC110 - nobody tells what is in the row
                await asyncio.sleep(0.02)
        assert message.state.abandoned
        with pytest.raises(TurnReleasedError, match="its client was closed"):
            await asyncio.wait_for(task, 60)

    asyncio.run(main())
    assert_handed_over(message, record, client, held)


def test_a_client_that_is_closed_while_the_session_is_made_hands_the_turn_over(
    server, client, record, monkeypatch
):
    """Closing breaks the request, which is no failure of the turn."""
    message, closing = MemoryMessage("hello"), Client(server.url, password=server.password)
    asked, send = threading.Event(), closing._core._transport.send

    async def send_late(request):
        asked.set()
        eventually(lambda: closing._core._transport.closed, 30)
        return await send(request)

    monkeypatch.setattr(closing._core._transport, "send", send_late)
    thread, came_to = running(turn_of(message, record, closing))
    assert asked.wait(60)
    closing.close()
    thread.join(60)
    assert isinstance(came_to[0], TurnReleasedError)
    assert message.state.abandoned
    assert turn_of(message, record, client).run().content == 'You said: "hello".'


def test_a_client_of_a_forked_child_that_is_closed_leaves_its_parents_turns_alone(client, record, held):
    message = MemoryMessage(HELD)
    thread, came_to = running(turn_of(message, record, client))
    eventually(lambda: message.state.content)
    pid = os.fork()
    if pid == 0:
        client.close()
        os._exit(len(client._core.clock._before))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    held.set()
    thread.join(60)
    assert came_to[0].content == SAID


# -- on_cancel -------------------------------------------------------------------------------------------


async def cancelled(task, _):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_by_anyio(task, scope):
    scope.cancel()
    await task


@pytest.mark.parametrize("cancel", sample([cancelled, cancelled_by_anyio]))
def test_a_cancelled_task_hands_its_turn_over_if_that_is_wanted(server, client, record, held, cancel):
    message = MemoryMessage(HELD)

    async def main():
        async with aio.Client(server.url, password=server.password) as waiting:
            scope = anyio.CancelScope()

            async def run():
                with scope:
                    await async_turn_of(message, record, waiting, on_cancel="release").run()

            task = asyncio.create_task(run())
            while not message.state.content:  # noqa: ASYNC110 - nobody tells what is in the row
                await asyncio.sleep(0.02)
            await cancel(task, scope)

    asyncio.run(main())
    assert_handed_over(message, record, client, held)


def test_ctrl_c_hands_a_turn_over_if_that_is_wanted(client, record, held):
    def interrupt():
        raise KeyboardInterrupt

    message = MemoryMessage(HELD)
    with pytest.raises(KeyboardInterrupt):
        turn_of(message, record, client, observer=AtFirstWord(interrupt), on_cancel="release").run()
    assert_handed_over(message, record, client, held)


def test_an_unknown_word_for_on_cancel_is_refused(client, record):
    with pytest.raises(ConfigurationError, match="on_cancel must be one of stop, release"):
        turn_of(MemoryMessage("hello"), record, client, on_cancel="abort")
