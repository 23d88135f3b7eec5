from __future__ import annotations

import asyncio

import pytest

from opencode_sessions.runtime.stepping import blocking, blocking_iterator, run_sync


class Core:
    async def double(self, number):
        """Twice as much."""
        return number * 2

    async def fail(self):
        raise KeyError("inside")

    async def count(self, upto):
        for number in range(upto):
            self.reached = number
            yield number


class Twin:
    def __init__(self):
        self._core = Core()

    double = blocking(Core.double)
    fail = blocking(Core.fail)
    count = blocking_iterator(Core.count)


def test_a_coroutine_that_never_suspends_runs_to_its_end():
    assert run_sync(Core().double(21)) == 42


def test_a_coroutine_that_suspends_is_refused_with_what_to_do():
    with pytest.raises(RuntimeError, match=r"opencode_sessions\.aio"):
        run_sync(asyncio.sleep(0))


def test_the_twin_has_the_name_and_docstring_of_its_source():
    assert Twin.double.__name__ == "double"
    assert Twin.double.__doc__ == "Twice as much."
    assert Twin().double(number=4) == 8


def test_errors_pass_through_as_they_are():
    with pytest.raises(KeyError, match="inside"):
        Twin().fail()


def test_an_iterator_is_as_lazy_as_its_source():
    twin = Twin()
    numbers = twin.count(5)
    assert [next(numbers), next(numbers)] == [0, 1]
    assert twin._core.reached == 1
    assert list(numbers) == [2, 3, 4]
