"""What a person does to a turn, and what cannot be done: the same words and statuses for every framework."""

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

__all__ = ["Refused", "check_answer", "nobody", "refusal_of"]


class Refused(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """It cannot be done.

    Attributes:
        status: Of the HTTP response.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


def nobody(_user: Any, _message: Any) -> bool:
    """Who may see and steer a turn, unless the host says it."""
    return False


def check_answer(reply: str, labels: Sequence[Sequence[str]], shown: ShownAsk, *, allow_always: bool) -> None:
    """Refuse an answer that this host does not take.

    Args:
        reply: `once`, `always` or `reject`.
        labels: Of each question, what was chosen.
        shown: What is answered.
        allow_always: See `HostSettings`.

    Raises:
        Refused: It says `always` where that is not allowed, leaves a question open, or chooses where nothing is asked.
    """
    if reply == "always" and not allow_always:
        raise Refused(403, "Nothing can be allowed for always here. Allow it once, or refuse it.")
    if labels and not isinstance(shown, QuestionAsk):
        raise Refused(400, "This is no question, and has nothing to choose: leave `labels` out.")
    if reply == "reject" or not isinstance(shown, QuestionAsk):
        return
    if len(labels) != len(shown.questions):
        raise Refused(400, f"Give a list of labels for each of the {len(shown.questions)} questions.")
    for question, chosen in zip(shown.questions, labels, strict=True):
        if not chosen and not question.multiple:
            raise Refused(400, f"Choose an answer to “{question.header or question.text}”, or dismiss it.")


def refusal_of(error: OpencodeError) -> Refused:
    """What whoever steers a turn is told of an error.

    Raises:
        OpencodeError: The error itself, if it is a fault of the host's.
    """
    match error:
        case AskChangedError():
            return Refused(409, "The agent's request has changed since it was shown here. Look at it again.")
        case AskAnsweredError():
            return Refused(409, "It waits for no answer any more: one was given, or the turn has ended.")
        case UploadError():
            return Refused(error.status, str(error))
        case RecordGoneError():
            return Refused(404, "There is no such turn, or not for you.")
        case WireError():
            shown = display_error({"name": type(error).__name__})  # without an address of the host's network
            return Refused(503, f"{shown.title}. {shown.advice}".strip() if shown is not None else "")
    raise error
