"""What a turn reads of the server does not grow with the conversation: on the real server."""

from __future__ import annotations

import httpx2
import pytest

from opencode_sessions import Client, Deadlines, Session, Turn, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

LONG = "word " * 2000 + "\n!say done"


class Weighing(httpx2.HTTPTransport):
    """The real transport, which also weighs what is answered, but for the events."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def handle_request(self, request):
        response = super().handle_request(request)
        if not request.url.path.endswith("/event"):
            self.weights.append(len(response.read()))
        return response


@pytest.fixture
def scales():
    return Weighing()


@pytest.fixture
def weighed(server, scales):
    """A client whose traffic is weighed."""
    with Client(server.url, password=server.password, transport=scales) as client:
        yield client


@pytest.mark.full
def test_a_turn_reads_as_little_after_forty_messages_as_after_three(weighed, scales):
    session = Session(MemoryRecord("A long conversation"), permissions_for=lambda _: [allow("*")])

    def read_in_a_turn():
        scales.weights.clear()
        # What is looked at on the way, on a slow machine, is not what is weighed here.
        turn = Turn(MemoryMessage(LONG), session, weighed, deadlines=Deadlines(look=60.0))
        assert turn.run().content == "done"
        return len(scales.weights), sum(scales.weights)

    read = [read_in_a_turn() for _ in range(20)]
    assert len(list(weighed.messages(session.ensure(weighed)))) == 40
    (early_requests, early_weight), late = read[1], read[15:]
    assert min(requests for requests, _ in late) <= early_requests
    assert min(weight for _, weight in late) <= early_weight + len(LONG) / 2  # it would be many times that
