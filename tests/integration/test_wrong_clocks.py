"""A host whose clock is wrong: its message ids name another time than the server's own, and its turns are answered."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from selection import sample

from opencode_sessions import READ_ONLY, Session, Turn
from opencode_sessions.protocol import ids
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

TODO = '!tool todowrite {"todos": [{"content": "a", "status": "pending", "priority": "low"}]}'


@pytest.mark.parametrize("seconds", sample([-600, -3, 3, 90]))
def test_each_turn_of_a_host_whose_clock_is_off_gets_its_one_answer(client, monkeypatch, seconds):
    wrong = SimpleNamespace(time_ns=lambda: time.time_ns() + seconds * 1_000_000_000)
    monkeypatch.setattr(ids, "time", wrong)
    session = Session(MemoryRecord("Wrong clock"), permissions_for=READ_ONLY)
    for number in range(3):
        result = Turn(MemoryMessage(f"{TODO}\n!say answer {number}"), session, client).run()
        assert (result.status, result.content) == (TurnStatus.COMPLETED, f"answer {number}")
    answers = [each for each in client.messages(result.session_id) if each.info.role == "assistant"]
    assert len(answers) == 3 * 2  # a step that calls the tool, and one that answers
