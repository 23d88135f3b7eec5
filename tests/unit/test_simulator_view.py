"""What a suspended coroutine goes on with is compared whole: what only its stack holds, too."""

from __future__ import annotations

import types
from dataclasses import dataclass

import pytest
from simulator.view import view


@types.coroutine
def answer():
    return (yield)


def after(coroutine, *answers):
    """The view of a coroutine that got these answers."""
    coroutine.send(None)
    for value in answers:
        coroutine.throw(value) if isinstance(value, Exception) else coroutine.send(value)
    seen = view(coroutine)
    coroutine.close()
    return seen


async def reads_again():
    first = await answer()
    await answer()
    return first


async def reads_no_more():
    first = await answer()
    await answer()
    first = await answer()
    return [first]


async def tries_often(tries):
    for _ in tries:
        _ = await answer()


async def forgives():
    try:
        await answer()
    except ValueError:
        await answer()
    await answer()


async def calls(function):
    await function()
    await answer()


async def keeps(thing):
    await answer()
    return thing


def test_what_will_be_read_counts():
    assert after(reads_again(), 1) == after(reads_again(), 1)
    assert after(reads_again(), 1) != after(reads_again(), 2)


def test_what_will_not_be_read_does_not():
    assert after(reads_no_more(), 1) == after(reads_no_more(), 2)


def test_where_it_stands_counts():
    assert after(reads_again()) != after(reads_again(), None)


@pytest.mark.parametrize("tries", [range(5), [0] * 5, (0,) * 5], ids=["range", "list", "tuple"])
def test_an_iterator_that_only_the_stack_holds_counts(tries):
    assert after(tries_often(tries), 0) == after(tries_often(tries), 1)
    assert after(tries_often(tries), 0) != after(tries_often(tries), 0, 0)


def test_an_error_that_is_being_handled_counts():
    assert after(forgives(), ValueError("a")) == after(forgives(), ValueError("a"))
    assert after(forgives(), ValueError("a")) != after(forgives(), ValueError("b"))
    assert after(forgives(), ValueError("a"), None) != after(forgives(), ValueError("a"))


async def pages(*given):
    for page in given:
        await answer()
        yield page


async def reads_pages(*given):
    return [page async for page in pages(*given)]


async def learns_later():
    def known():
        return fact

    await answer()
    fact = await answer()
    await answer()
    return known


def test_what_an_asynchronous_generator_holds_counts():
    assert after(reads_pages(1, 2)) == after(reads_pages(1, 2))
    assert after(reads_pages(1, 2)) != after(reads_pages(1, 3))
    assert after(reads_pages(1, 1), None) != after(reads_pages(1, 1))


def test_a_local_that_is_shared_with_a_function_counts_from_when_it_is_known():
    assert after(learns_later()) == after(learns_later())
    assert after(learns_later(), None, 1) == after(learns_later(), None, 1)
    assert after(learns_later(), None, 1) != after(learns_later(), None, 2)


@dataclass
class Noting:
    """Its fields are not all that it holds."""

    name: str

    def __post_init__(self):
        self.noted = []


def test_what_a_dataclass_holds_beside_its_fields_counts():
    one, other = Noting("a"), Noting("a")
    assert after(keeps(one)) == after(keeps(other))
    other.noted.append(1)
    assert after(keeps(one)) != after(keeps(other))


def test_those_that_it_awaits_count():
    assert after(calls(reads_again), 1) == after(calls(reads_again), 1)
    assert after(calls(reads_again), 1) != after(calls(reads_again), 2)
    assert after(calls(reads_again)) != after(calls(reads_no_more))


def test_things_are_compared_by_what_they_hold_and_who_shares_them():
    one, other = [1], [1]
    assert after(keeps([one, one])) == after(keeps([other, other]))
    assert after(keeps([one, one])) != after(keeps([one, other]))
    assert after(keeps([one])) != after(keeps([[2]]))


def test_a_known_thing_stands_for_itself():
    one, other = ValueError("a"), ValueError("a")
    first, second = keeps(one), keeps(other)
    first.send(None)
    second.send(None)
    assert view(first) == view(second)
    assert view(first, known=[one]) != view(second, known=[one])
    first.close()
    second.close()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(TypeError, match="zip"):
        after(keeps(zip([1], [2], strict=True)))
