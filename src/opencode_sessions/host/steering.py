"""A person's actions on a turn, and their refusals, with the same texts and statuses for every framework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opencode_sessions.display import QuestionAsk, ShownAsk, display_error
from opencode_sessions.errors import (
    AskAnsweredError,
    AskChangedError,
    OpencodeError,
    RecordGoneError,
    WireError,
)
from opencode_sessions.files.errors import UploadError
from opencode_sessions.texts import later, text

__all__ = [
    "NO_ASK",
    "NO_TURN",
    "Refused",
    "check_answer",
    "nobody",
    "not_again",
    "refusal_of",
    "too_late",
]


NO_ASK = later("It waits for no answer any more: one was given, or the turn has ended.")
NO_TURN = later("There is no such turn, or not for you.")

_TOO_LATE = {
    "completed": later("It is too late to stop it: it is completed already."),
    "cancelled": later("It is too late to stop it: it is cancelled already."),
    "failed": later("It is too late to stop it: it has failed already."),
}
_NOT_AGAIN = {
    "pending": later("There is nothing to be tried again: it waits for its turn."),
    "streaming": later("There is nothing to be tried again: it is at work."),
    "completed": later("There is nothing to be tried again: it is completed."),
}


class Refused(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """A request cannot be carried out.

    Attributes:
        status: The HTTP status of the response.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


def nobody(_user: Any, _message: Any) -> bool:
    """The default of `may_see`: no user may see or control a turn."""
    return False


def check_answer(reply: str, labels: Sequence[Sequence[str]], shown: ShownAsk, *, allow_always: bool) -> None:
    """Refuse an answer that this host does not accept.

    Args:
        reply: `once`, `always` or `reject`.
        labels: The chosen labels of each question.
        shown: The ask.
        allow_always: See `HostSettings`.

    Raises:
        Refused: `always` is not allowed, a question has no answer, or labels were chosen for a permission.
    """
    if reply == "always" and not allow_always:
        raise Refused(403, text("Nothing can be allowed for always here. Allow it once, or refuse it."))
    if labels and not isinstance(shown, QuestionAsk):
        raise Refused(400, "This is no question, and has nothing to choose: leave `labels` out.")
    if reply == "reject" or not isinstance(shown, QuestionAsk):
        return
    if len(labels) != len(shown.questions):
        raise Refused(400, f"Give a list of labels for each of the {len(shown.questions)} questions.")
    for question, chosen in zip(shown.questions, labels, strict=True):
        if not chosen and not question.multiple:
            about = question.header or question.text
            raise Refused(400, text("Choose an answer to “{question}”, or dismiss it.", question=about))


def too_late(status: str) -> Refused:
    """It cannot be stopped, as it has ended so."""
    return Refused(409, text(_TOO_LATE.get(status, _TOO_LATE["completed"])))


def not_again(status: str) -> Refused:
    """It cannot be tried again, as it stands so."""
    return Refused(409, text(_NOT_AGAIN.get(status, _NOT_AGAIN["completed"])))


def refusal_of(error: OpencodeError) -> Refused:
    """The refusal for an error of an action on a turn.

    Raises:
        OpencodeError: The error itself, if it is a fault of the host.
    """
    match error:
        case AskChangedError():
            said = text("The agent's request has changed since it was shown here. Look at it again.")
            return Refused(409, said)
        case AskAnsweredError():
            return Refused(409, text(NO_ASK))
        case UploadError():
            return Refused(error.status, str(error))
        case RecordGoneError():
            return Refused(404, text(NO_TURN))
        case WireError():
            shown = display_error({"name": type(error).__name__})  # without an address of the host's network
            return Refused(503, f"{shown.title}. {shown.advice}".strip() if shown is not None else "")
    raise error
