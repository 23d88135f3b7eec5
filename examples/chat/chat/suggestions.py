"""What to ask, where nothing has been asked yet."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SUGGESTIONS", "Suggestion"]


class Suggestion(NamedTuple):
    """One card of the empty conversation.

    Attributes:
        icon: The name of a symbol in `static/chat/icons.svg`.
        title: What is to be done.
        about: What there is to see.
        prompt: What is sent.
    """

    icon: str
    title: str
    about: str
    prompt: str


SUGGESTIONS = (
    Suggestion(
        "compass",
        "Look around",
        "It reads, thinks aloud, answers with a table",
        "What is in this folder? Have a look, and tell me what the bakery sells.",
    ),
    Suggestion(
        "wrench",
        "Mend a bug",
        "A plan, a diff, a test run: it asks you first",
        "The total is wrong when somebody buys two of a thing. Find out why, mend it, and run the tests.",
    ),
    Suggestion(
        "chat",
        "Plan the specials",
        "It asks you what you would like",
        "Plan next week's specials with me, and write them down. Ask me first what I have in mind.",
    ),
    Suggestion(
        "people",
        "Get a second opinion",
        "A sub-agent does the work, in its own session",
        "Let somebody else go over the prices, and tell me whether any of them looks odd.",
    ),
    Suggestion(
        "scroll",
        "Tell it at length",
        "A slow one: reload it, stop it, open it twice",
        "How is a sourdough loaf made? Take your time, and tell me at length.",
    ),
    Suggestion(
        "bolt",
        "Have a bad day",
        "The first try fails, and says why; try again",
        "Ask the express oven how long a baguette takes.",
    ),
)
