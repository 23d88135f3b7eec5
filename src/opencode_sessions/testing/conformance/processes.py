"""Calls from other processes, all at once: real ones, that share nothing with this one but the database."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing.synchronize import Barrier
from typing import Any, Final

import pytest

from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import DELETE, Call

__all__ = ["InProcesses", "Processes"]

# Not forked from this process: its threads and connections are none of theirs.
_CONTEXT: Final = multiprocessing.get_context("spawn")
_PATIENCE = 60.0

_start: Any = None
"""In such a process: the barrier at which all wait."""


class Processes:
    """A few processes that are started once and kept.

    Attributes:
        count: How many.
    """

    count: Final = 4

    def race(
        self, recipe: Callable[[], RecordBench], rounds: Sequence[tuple[Any, Sequence[Call]]]
    ) -> list[list[Any]]:
        """Make the calls of each round at once, each in a process of its own, and on a bench of its own.

        Args:
            recipe: Of the benches.
            rounds: The record of each round, and as many calls as there are processes.

        Returns:
            For each round the answers, in the order of its calls.
        """
        records = [record for record, _ in rounds]
        turns = zip(*(calls for _, calls in rounds), strict=True)
        shares = [list(zip(records, calls, strict=True)) for calls in turns]
        assert len(shares) == self.count, "the processes wait for each other"
        try:
            answers = list(self._pool.map(_share, [recipe] * self.count, shares))
        finally:
            self._barrier.reset()
        return [list(given) for given in zip(*answers, strict=True)]

    def close(self) -> None:
        """End them, if they were ever started."""
        if "_pool" in vars(self):
            self._pool.shutdown(cancel_futures=True)

    @cached_property
    def _barrier(self) -> Barrier:
        return _CONTEXT.Barrier(self.count)

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.count, _CONTEXT, initializer=_begin, initargs=(self._barrier,))


def _begin(barrier: Any) -> None:
    global _start  # noqa: PLW0603 - a barrier can be inherited, but not sent
    _start = barrier


def _share(recipe: Callable[[], RecordBench], share: Sequence[tuple[Any, Call]]) -> list[Any]:
    """One process's calls, one in each round."""
    bench = recipe()
    try:
        return [_answer(bench, record, call) for record, call in share]
    except BaseException:
        _start.abort()
        raise
    finally:
        bench.close()


def _answer(bench: RecordBench, record: Any, call: Call) -> Any:
    if call == DELETE:
        _wait()
        bench.delete(record)
        return None
    store = bench.store(record)
    _wait()
    return bench.run(call.on(store))


def _wait() -> None:
    try:
        _start.wait(_PATIENCE)
    except threading.BrokenBarrierError:
        raise RuntimeError("another process of this race failed before its start") from None


class InProcesses:
    """For suites that race in processes."""

    @pytest.fixture(scope="class")
    @classmethod
    def processes(cls) -> Iterator[Processes]:
        """For all tests of a class; they are started when the first test wants them."""
        processes = Processes()
        yield processes
        processes.close()
