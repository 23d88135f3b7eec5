"""What people are told of errors by name: the server's, the library's, and those of a host's own code."""

from __future__ import annotations

import pytest

from opencode_sessions.display import display_error


@pytest.mark.parametrize(
    ("name", "title", "retry"),
    [
        ("ConfigurationError", "It is not set up well", False),
        ("InvalidRulesError", "It is not set up well", False),  # a kind of the former
        ("TurnTimeoutError", "Something went wrong", True),
        ("TotalTimeoutError", "It took too long", True),
        ("AttributeError", "Something went wrong", True),  # of a function of the host's
        ("SomethingNewError", "Something new", True),  # of a later server
    ],
)
def test_an_error_is_told_by_its_kind(name, title, retry):
    shown = display_error({"name": name, "message": "why"})
    assert (shown.title, shown.retry, shown.text) == (title, retry, "why")
    assert bool(shown.advice) == (name != "SomethingNewError")
