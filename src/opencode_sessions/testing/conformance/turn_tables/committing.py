"""What is part of the host's transaction, and what waits for its commit."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.testing.conformance.bench import HostTransaction
from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Commits"]


class Commits(Staged):
    """`reserve` and `after_commit`, around commits, rollbacks and savepoints."""

    def test_a_new_message_is_reserved_in_the_transaction_that_stores_it(self, stage: Stage) -> None:
        record, called = stage.bench.record(), list[str]()

        async def work() -> tuple[Any, TurnJob]:
            host = _open(stage)
            message = await host.add(record)
            await stage.table.reserve(message, OUT)
            job = stage.table.job_of(message)
            stage.table.after_commit(message, lambda: called.append("action"))
            name = stage.bench.name_of(message)
            called.append("commit")
            await host.commit()
            return name, job

        message, job = stage.bench.run(work())
        stage.note(message)
        assert called == ["commit", "action"]
        assert job == stage.job(message), "the job is the same before the commit"
        assert stage.abandoned(OUT) == [message]

    def test_what_is_rolled_back_was_never_reserved_and_no_action_is_called(self, stage: Stage) -> None:
        record, called = stage.bench.record(), list[str]()
        draft, new = stage.message(record), list[TurnJob]()

        async def work(host: HostTransaction) -> None:
            for message in (await host.add(record), await host.get(draft)):
                await stage.table.reserve(message, OUT)
                new.append(stage.table.job_of(message))
                stage.table.after_commit(message, lambda: called.append("action"))
            await host.rollback()

        _in_transaction(stage, work)
        assert called == []
        assert stage.bench.run(stage.table.find(new[0])) is None
        assert stage.abandoned(OUT) == []
        assert not stage.put_behind(draft), "it was never reserved"
        assert stage.ahead_of(stage.reserved(record)) is None, "and has no place"

    def test_actions_are_called_once_each_in_their_order(self, stage: Stage) -> None:
        message, called = stage.message(), list[int]()

        async def work(host: HostTransaction) -> None:
            copy = await host.get(message)
            for number in range(3):
                stage.table.after_commit(copy, lambda number=number: called.append(number))
            assert not called
            await host.commit()

        for _ in range(2):
            _in_transaction(stage, work)
            assert called == [0, 1, 2]
            called.clear()
        stage.reserve(message)  # another transaction
        assert not called

    def test_an_action_is_called_at_once_if_no_transaction_is_open(self, stage: Stage) -> None:
        message, called = stage.bench.copy(stage.message()), list[str]()

        async def work() -> None:
            stage.table.after_commit(message, lambda: called.append("action"))
            assert called == ["action"]

        stage.bench.run(work())

    def test_an_action_of_a_savepoint_that_is_rolled_back_is_not_called(self, stage: Stage) -> None:
        messages, called = [stage.message() for _ in range(3)], list[int]()

        async def work(host: HostTransaction) -> None:
            for number, message in enumerate(messages):
                await host.savepoint()
                copy = await host.get(message)
                await stage.table.reserve(copy, OUT)
                stage.table.after_commit(copy, lambda number=number: called.append(number))
                await host.end_savepoint(rollback=number == 1)
                assert not called, "the outermost transaction is open"
            await host.commit()

        _in_transaction(stage, work)
        assert called == [0, 2]
        assert stage.abandoned(OUT) == [messages[0], messages[2]]

    def test_an_action_of_a_savepoint_is_not_called_if_the_outermost_transaction_is_rolled_back(
        self, stage: Stage
    ) -> None:
        message, called = stage.message(), list[str]()

        async def work(host: HostTransaction) -> None:
            await host.savepoint()
            copy = await host.get(message)
            stage.table.after_commit(copy, lambda: called.append("action"))
            await host.end_savepoint(rollback=False)
            await host.rollback()

        _in_transaction(stage, work)
        assert called == []

    def test_turns_that_are_enqueued_in_one_transaction_have_their_places_in_order(
        self, stage: Stage
    ) -> None:
        record = stage.bench.record()
        old = stage.message(record)

        async def work() -> list[Any]:
            host = stage.bench.begin()
            messages = [await host.add(record), await host.get(old), await host.add(record)]
            for message in messages:
                await stage.table.reserve(message, LIVE)
            names = [stage.bench.name_of(message) for message in messages]
            await host.commit()
            return names

        first, second, third = stage.bench.run(work())
        for message in (first, third):
            stage.note(message)
        assert stage.ahead_of(third) == stage.ahead_of(second) == (first, False)
        assert stage.ahead_of(first) is None
        stage.bench.delete(first)
        assert stage.ahead_of(third) == (second, False)


def _open(stage: Stage) -> HostTransaction:
    host = stage.bench.begin()
    if not host.is_open:
        pytest.skip(f"{type(stage.bench).__name__} has no transactions")
    return host


def _in_transaction(stage: Stage, work: Callable[[HostTransaction], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        await work(_open(stage))

    stage.bench.run(inside())
