"""Why the model stopped: the row keeps it, the result says it, and whoever reads the answer sees it."""

from __future__ import annotations

import pytest

from opencode_sessions import READ_ONLY, Session, Turn
from opencode_sessions.cli.rendering import summary
from opencode_sessions.display import display
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import Call, Rule, Script, Step

TODO = Call("todowrite", {"todos": [{"content": "a", "status": "pending", "priority": "low"}]})

MOST_ANSWERS = 6  # five, and one that may have begun before the agent was stopped


@pytest.fixture
def answered(client, scripted_model, monkeypatch):
    """Call it with steps of the model: the result of a turn."""

    def answer(*steps):
        monkeypatch.setattr(scripted_model, "rules", (Rule(when=lambda _: True, reply=Script(*steps)),))
        session = Session(MemoryRecord("a"), permissions_for=READ_ONLY)
        return Turn(MemoryMessage("hello"), session, client).run()

    return answer


def test_an_answer_that_is_cut_off_says_so(answered):
    result = answered(Step(calls=(TODO,)), Step(say="It was a dark and", finish="length"))
    assert result.status is TurnStatus.COMPLETED, result.error
    assert result.finish == "length"
    assert result.parts[-1] == {"type": "finish", "reason": "length"}
    notice = display(result.parts)[-1]
    assert (notice.type, notice.kind, notice.title) == ("notice", "finish", "The answer is cut off")
    assert "completed, but not to its end (length)" in summary(result)


def test_an_answer_that_a_filter_holds_back_has_failed(answered):
    result = answered(Step(say="It was a dark and", finish="content_filter"))
    assert (result.status, result.finish) == (TurnStatus.FAILED, None)
    assert result.error["name"] == "ContentFilterError"


def test_a_whole_answer_says_nothing_of_its_end(answered):
    result = answered(Step(say="It was a dark and stormy night."))
    assert result.finish == "stop"
    assert not [part for part in result.parts if part["type"] == "finish"]
    assert summary(result).startswith("completed ·")


@pytest.mark.parametrize("finish", ["", "nobody knows this"], ids=["no reason", "an unknown reason"])
def test_a_provider_that_never_says_why_an_answer_ends_is_stopped(answered, finish):
    result = answered(Step(say="Once upon a time", finish=finish))
    assert (result.status, result.error["name"]) == (TurnStatus.FAILED, "EndlessAnswerError")
    assert result.content.startswith("Once upon a time\n\nOnce upon a time")
    assert len([part for part in result.parts if part["type"] == "text"]) <= MOST_ANSWERS
    assert "finish_reason" in result.error["message"]


def test_steps_that_call_tools_are_no_endless_answer(answered):
    steps = [Step(say=f"Step {number}", calls=(TODO,)) for number in range(6)]
    assert answered(*steps, Step(say="Done.")).status is TurnStatus.COMPLETED
