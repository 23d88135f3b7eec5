"""The order in which the answers of one chat request are delivered, and which answers may come too late."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from opencode_sessions.display import Given
from opencode_sessions.errors import AskAnsweredError
from opencode_sessions.host.chats import ChatRequest, ChatService
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.turn_table import RowKey


class Asks:
    """A `Steering` whose server settles asks as OpenCode does: a rejection rejects all, and `always` allows all."""

    def __init__(self, waiting):
        self.waiting, self.delivered = {*waiting}, []

    def key_of(self, message):
        return RowKey("messages", "1", "default")

    async def answer(self, message, given):
        if given.ask not in self.waiting:
            raise AskAnsweredError("it waits no more", ask_id=given.ask)
        self.waiting.discard(given.ask)
        if given.reply != "once":
            self.waiting.clear()
        self.delivered.append((given.ask, given.reply))


class Chats:
    def turns(self, user, chat, last):
        return [SimpleNamespace(asks=[])]


def deliver(asks, *given):
    answers = tuple(Given(ask, reply) for ask, reply in given)
    run_sync(ChatService(None, Chats(), asks, None).turn(ChatRequest(chat="1", answers=answers), None))
    return asks.delivered


def test_answers_that_settle_other_asks_are_delivered_last():
    asks = Asks(["a", "b", "c"])
    assert deliver(asks, ("a", "reject"), ("b", "once"), ("c", "once")) == [
        ("b", "once"),
        ("c", "once"),
        ("a", "reject"),
    ]
    assert deliver(Asks(["a", "b"]), ("a", "always"), ("b", "once")) == [("b", "once"), ("a", "always")]


@pytest.mark.parametrize("reply", ["reject", "always"])
def test_an_ask_that_an_earlier_answer_of_the_request_has_settled_alike_is_no_error(reply):
    assert deliver(Asks(["a", "b"]), ("a", reply), ("b", reply)) == [("a", reply)]


@pytest.mark.parametrize("given", [["once"], ["reject"], ["once", "once"], ["always", "reject"]])
def test_an_ask_that_was_settled_otherwise_is_an_error(given):
    answers = [(f"ask {place}", reply) for place, reply in enumerate(given)]
    asks = Asks([ask for ask, _ in answers[:-1]])
    with pytest.raises(AskAnsweredError):
        deliver(asks, *answers)
