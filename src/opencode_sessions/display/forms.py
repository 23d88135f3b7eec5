"""The fields of the form that answers an ask, and the reading of a filled-in form.

ask             the ask's id
answer          once | always | reject
shown           the digest of the form's card, `ask.shown`; a `reject` needs none
message         with `reject`: a message to the agent, which then goes on
answer-0, …     for each question, the chosen labels; the field may be repeated
own-0, …        for each question, a text of the person's own
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from opencode_sessions.display.asks import PermissionAsk, Question, ShownAsk
from opencode_sessions.errors import AskChangedError, ConfigurationError

__all__ = ["ANSWER", "ASK", "MESSAGE", "SHOWN", "Given", "answer_field", "own_field", "read_answer"]

ASK, ANSWER, MESSAGE, SHOWN = "ask", "answer", "message", "shown"

Reply = Literal["once", "always", "reject"]

_LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class Given:
    """The values of a filled-in form, for the ask `given.ask`.

    The answer is `Answer(given.reply, given.labels, given.message, shown=given.shown)`.
    """

    ask: str
    reply: Reply
    labels: tuple[tuple[str, ...], ...] = ()
    message: str | None = None
    shown: str = ""


def answer_field(question: Question) -> str:
    """The name of the field for chosen labels."""
    return f"{ANSWER}-{question.place}"


def own_field(question: Question) -> str:
    """The name of the field for the person's own text."""
    return f"own-{question.place}"


def read_answer(fields: Mapping[str, Sequence[str]], ask: ShownAsk) -> Given:
    """Read a filled-in form.

    Args:
        fields: The fields, each with all its values, such as `dict(request.POST.lists())`.
        ask: The ask, from `display_ask(…, whole=True)`.

    Raises:
        AskChangedError: The ask has changed since the form was made. Show it again.
        ConfigurationError: The form is invalid: `ask` names another ask, `answer` is none of the three, or `shown` is
            missing. The form of a shortened card has no `shown`; the form of the full card has it.
    """
    reply = _first(fields, ANSWER)
    if _first(fields, ASK) != ask.id or reply not in get_args(Reply):
        raise ConfigurationError(
            f"the form needs a field `{ASK}` that is {ask.id!r}, and `{ANSWER}` to be one of "
            f"{', '.join(get_args(Reply))}; its fields are {', '.join(sorted(fields)[:20])}"
        )
    if reply == "reject":
        return Given(ask.id, "reject", (), _first(fields, MESSAGE) or None)
    shown = _first(fields, SHOWN)
    if not shown:
        raise ConfigurationError(
            f"the form needs a field `{SHOWN}` with the digest of what it shows (`ask.shown`): nobody can agree to "
            "what is not shown"
        )
    if shown != ask.shown:
        raise AskChangedError(
            f"what ask {ask.id} says has changed since it was shown: show it again", ask_id=ask.id
        )
    if isinstance(ask, PermissionAsk):
        return Given(ask.id, cast("Reply", reply), shown=shown)
    labels = tuple(_chosen(fields, question) for question in ask.questions)
    return Given(ask.id, "once", labels, shown=shown)


def _chosen(fields: Mapping[str, Sequence[str]], question: Question) -> tuple[str, ...]:
    """The labels with the person's own text: added if there may be several, else in place of the label."""
    own = _first(fields, own_field(question)) if question.own_answer else ""
    offered = [option.label for option in question.options]
    chosen = tuple(label for label in offered if label in fields.get(answer_field(question), ()))
    if own:
        return (*chosen, own) if question.multiple else (own,)
    return chosen if question.multiple else chosen[:1]


def _first(fields: Mapping[str, Sequence[str]], name: str) -> str:
    return next((value.strip()[:_LONGEST] for value in fields.get(name, ()) if value.strip()), "")
