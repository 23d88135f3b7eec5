"""The error of a function in the background, whose iterator is closed: it is reported once, whenever it was raised."""

from __future__ import annotations

import asyncio
import threading

import pytest

from opencode_sessions.runtime.streaming import astream, stream


class DatabaseAwayError(Exception):
    pass


def reported_by_sync(*, raised_first):
    """The errors that are reported after the iterator was closed, before or after the function raised."""
    reported, may_raise = [], threading.Event()

    def run(tell):
        tell("event")
        may_raise.wait(10)
        raise DatabaseAwayError

    def close():
        assert not raised_first or reported, "the error is reported before the slow work of closing"

    values = stream(run, close=close, report=reported.append)
    assert next(values) == "event"
    (thread,) = (each for each in threading.enumerate() if each.name == "opencode-sessions stream")
    if raised_first:
        may_raise.set()
        thread.join(10)
    values.close()
    may_raise.set()
    thread.join(10)
    return reported


def reported_by_async(*, raised_first):
    reported = []

    async def main():
        may_raise = asyncio.Event()

        async def run(tell):
            tell("event")
            await may_raise.wait()
            raise DatabaseAwayError

        async def close():
            assert not raised_first or reported, "the error is reported before the slow work of closing"

        values = astream(run, close=close, report=reported.append)
        assert await anext(values) == "event"
        (task,) = (each for each in asyncio.all_tasks() if each.get_name() == "opencode-sessions stream")
        if raised_first:
            may_raise.set()
            await task
        await values.aclose()
        may_raise.set()
        await task

    asyncio.run(main())
    return reported


@pytest.mark.parametrize("raised_first", [True, False], ids=["raised before closing", "raised after closing"])
@pytest.mark.parametrize("reported_by", [reported_by_sync, reported_by_async], ids=["sync", "async"])
def test_an_error_that_a_closed_iterator_did_not_raise_is_reported_once(reported_by, raised_first):
    assert [type(error) for error in reported_by(raised_first=raised_first)] == [DatabaseAwayError]


def test_an_error_that_was_raised_to_the_caller_is_not_reported():
    reported = []

    def run(_):
        raise DatabaseAwayError

    with pytest.raises(DatabaseAwayError):
        next(stream(run, close=lambda: None, report=reported.append))
    assert reported == []
