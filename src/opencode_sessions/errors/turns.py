"""The errors of a turn."""

from __future__ import annotations

from opencode_sessions.errors.base import OpencodeError

__all__ = [
    "AskAnsweredError",
    "AskChangedError",
    "BudgetExceededError",
    "EndlessAnswerError",
    "SilenceTimeoutError",
    "StartTimeoutError",
    "TotalTimeoutError",
    "TurnError",
    "TurnInProgressError",
    "TurnLimitError",
    "TurnParkedError",
    "TurnReleasedError",
    "TurnTakenError",
    "TurnTimeoutError",
]


class TurnError(OpencodeError):
    """A turn could not be run.

    Attributes:
        message_key: The key of the message's row, such as ``"messages:7"``.
    """

    def __init__(self, message: str, *, message_key: str) -> None:
        super().__init__(message)
        self.message_key = message_key


class TurnInProgressError(TurnError):
    """The message's turn is running, or its runner died; or its session still answers another prompt."""


class TurnTakenError(TurnError):
    """Another process has ended or taken the turn."""


class TurnLimitError(TurnError):
    """A limit on turns at a time is reached; this turn stays pending.

    Attributes:
        limit: The name of the limit, such as ``"server a"``.
        waits: Whether the turn will be retried.
    """

    def __init__(self, message: str, *, message_key: str, limit: str, waits: bool = True) -> None:
        super().__init__(message, message_key=message_key)
        self.limit = limit
        self.waits = waits


class BudgetExceededError(TurnError):
    """The host's budget is spent: the turn does not begin, or ends as failed. Its answer so far is kept."""


class TurnReleasedError(TurnTakenError):
    """`Turn.release` was called: the turn goes on in the next process that recovers it."""


class TurnParkedError(TurnError):
    """The turn waits for a person: `run(park=True)` has parked it. It goes on when it is run again after the answer."""


class TurnTimeoutError(TurnError):
    """The turn did not end within its deadline.

    Attributes:
        seconds: The deadline that passed.
    """

    def __init__(self, message: str, *, message_key: str, seconds: float) -> None:
        super().__init__(message, message_key=message_key)
        self.seconds = seconds


class StartTimeoutError(TurnTimeoutError):
    """There was no sign of an answer after the prompt."""


class SilenceTimeoutError(TurnTimeoutError):
    """There were no more events of the turn's session. Heartbeats do not count."""


class TotalTimeoutError(TurnTimeoutError):
    """The whole turn took too long."""


class EndlessAnswerError(TurnError):
    """The model answered several times in a row, and the provider never gave a reason for the end of an answer.

    The server asks the model again after such an answer (1.18.33).
    """


class _AskError(TurnError):
    """An answer cannot be accepted.

    Attributes:
        ask_id: The ask.
    """

    def __init__(self, message: str, *, ask_id: str, message_key: str = "") -> None:
        super().__init__(message, message_key=message_key)
        self.ask_id = ask_id


class AskAnsweredError(_AskError):
    """The ask no longer waits for an answer: it was answered, or its session was stopped. `ask_id` names it."""


class AskChangedError(_AskError):
    """The ask is not the one that the person saw. It still waits: show it again. `ask_id` names it."""
