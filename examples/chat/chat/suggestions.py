"""What to ask, where nothing has been asked yet. The prompts stay English: the scripted model knows them so."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

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
    title: Promise
    about: Promise
    prompt: str


SUGGESTIONS = (
    Suggestion(
        "compass",
        gettext_lazy("Look around"),
        gettext_lazy("It reads, thinks aloud, answers with a table"),
        "What is in this folder? Have a look, and tell me what the bakery sells.",
    ),
    Suggestion(
        "wrench",
        gettext_lazy("Mend a bug"),
        gettext_lazy("A plan, a diff, a test run: it asks you first"),
        "The total is wrong when somebody buys two of a thing. Find out why, mend it, and run the tests.",
    ),
    Suggestion(
        "chat",
        gettext_lazy("Plan the specials"),
        gettext_lazy("It asks you what you would like"),
        "Plan next week's specials with me, and write them down. Ask me first what I have in mind.",
    ),
    Suggestion(
        "people",
        gettext_lazy("Get a second opinion"),
        gettext_lazy("A sub-agent does the work, in its own session"),
        "Let somebody else go over the prices, and tell me whether any of them looks odd.",
    ),
    Suggestion(
        "scroll",
        gettext_lazy("Tell it at length"),
        gettext_lazy("A slow one: reload it, stop it, open it twice"),
        "How is a sourdough loaf made? Take your time, and tell me at length.",
    ),
    Suggestion(
        "bolt",
        gettext_lazy("Have a bad day"),
        gettext_lazy("The first try fails, and says why; try again"),
        "Ask the express oven how long a baguette takes.",
    ),
)
