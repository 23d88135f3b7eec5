"""What was said before, as a new session is told it."""

from __future__ import annotations

import json

import pytest

from opencode_sessions import ConfigurationError, retold


def test_the_newest_turns_are_told_in_as_many_characters_as_may_be_told():
    turns = [(f"question {number}", "x" * 60) for number in range(9)]
    lines = retold(turns, longest=300).split("\n")[1:]
    assert [json.loads(line)["user"] for line in lines] == ["question 6", "question 7", "question 8"]
    assert all(json.loads(line)["you"] == "x" * 60 for line in lines)
    assert retold([("q", "y" * 1_000)], longest=200).endswith(f'"{"y" * 100}…"}}')
    assert retold([]) == ""


@pytest.mark.parametrize("turns", [["only a text"], [("one",)], [("a prompt", None)]])
def test_what_is_no_pair_of_texts_is_refused(turns):
    with pytest.raises(ConfigurationError, match="pairs of texts"):
        retold(turns)


def test_a_limit_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="at least 100 characters, not 0"):
        retold([("a prompt", "an answer")], longest=0)
