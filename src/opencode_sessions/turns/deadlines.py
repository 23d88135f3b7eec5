"""The deadlines of a turn. While the turn waits for a person, only the person's deadline counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from opencode_sessions.errors import (
    ConfigurationError,
    EndlessAnswerError,
    SilenceTimeoutError,
    StartTimeoutError,
    TotalTimeoutError,
    TurnTimeoutError,
)
from opencode_sessions.runtime.ports import Clock

__all__ = ["DeadlineTimer", "Deadlines"]


_MOST_STEPS = 5
"""Answers in a row after which the server asks the model again without a tool call. The server itself has no limit: it
asked 63 times in 30 s (1.18.33)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The time limits of a turn, in seconds; `math.inf` means no limit.

    Attributes:
        start: From the prompt to the first sign of an answer.
        silence: The longest time without an event of this session or its sub-agents.
        unreachable: The longest time during which every attempt to read the turn's state fails.
        total: For one run of a turn, from its start to its end. A runner that recovers the turn gets the same time.
        person: For a person to answer an ask, by default a day. Then the ask is refused, and the agent goes on. The
            other deadlines do not run while the turn waits for a person.
        queue: For an earlier turn in the same session to end, if `when_busy` is `wait` or `cancel`.
        lease: Seconds after the runner's last write when another runner may recover the turn. It must be finite, and
            longer than the longest request with its retries, as nothing is written during a request.
        look: Seconds without an event before the state is read again. It is no deadline: it finds the end of a turn if
            the `idle` event is lost. It must be finite.

    Raises:
        ConfigurationError: One of them is not a number of seconds above 0.
    """

    start: float = 120.0
    silence: float = 600.0
    unreachable: float = 60.0
    total: float = 3600.0
    person: float = 86_400.0
    queue: float = 600.0
    lease: float = 120.0
    look: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            seconds = getattr(self, field.name)
            endless = field.name not in ("lease", "look")
            if not _is_duration(seconds, endless=endless):
                raise ConfigurationError(
                    f"Deadlines.{field.name} must be a positive number of seconds, not {seconds!r}"
                    + ("; for no limit math.inf" if endless else ", and have an end")
                )


def _is_duration(seconds: object, *, endless: bool) -> bool:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return False
    return seconds > 0 and (endless or seconds < math.inf)


class DeadlineTimer:
    """Keeps the deadlines of one run of a turn.

    Attributes:
        heard: The clock's time of the last event.
        begun: Whether an answer has begun.
        first_token: Seconds from the prompt to the first text, thought or tool call; None before that.
    """

    def __init__(self, clock: Clock, deadlines: Deadlines, key: str) -> None:
        self._clock = clock
        self._deadlines = deadlines
        self._key = key
        self._began = self._prompted = self._sent = self.heard = self._checked = clock.monotonic()
        self._is_prompted = False
        self.begun = False
        self.first_token: float | None = None

    def send(self) -> None:
        """Start the deadline of the prompt. A repeated call does not restart it."""
        self._sent = self.heard = self._clock.monotonic()
        if not self._is_prompted:
            self._is_prompted, self._prompted = True, self._sent

    def hear(self) -> None:
        """Note that an event came."""
        self.heard = self._clock.monotonic()

    def since_sent(self) -> float:
        """Seconds since the prompt was sent."""
        return self._clock.monotonic() - self._sent

    def due(self, *, waiting_since: float | None) -> float:
        """The clock's time at which the next deadline passes if nothing happens before; see `check`."""
        limits = self._deadlines
        if waiting_since is not None:
            left = limits.person - waiting_since
            return self._clock.monotonic() + left if left > 0 else math.inf
        start = math.inf if self.begun else self._prompted + limits.start
        return min(self._began + limits.total, self.heard + limits.silence, start)

    def check(self, *, waiting_since: float | None) -> bool:
        """Check all deadlines. True if the person's deadline has passed.

        Args:
            waiting_since: How long the turn has waited for a person, in seconds; None if it does not wait.

        Raises:
            TurnTimeoutError: Another deadline has passed.
        """
        now = self._clock.monotonic()
        passed, self._checked = now - self._checked, now
        if waiting_since is not None:
            self._began += passed
            self._prompted += passed
            self._sent += passed
            self.heard += passed
            return waiting_since >= self._deadlines.person
        limits = self._deadlines
        if now - self._began >= limits.total:
            raise self._expired(TotalTimeoutError, f"did not end within {limits.total:g} s", limits.total)
        if now - self.heard >= limits.silence:
            what = f"heard nothing of its session for {limits.silence:g} s"
            raise self._expired(SilenceTimeoutError, what, limits.silence)
        if not self.begun and now - self._prompted >= limits.start:
            what = f"got no sign of an answer within {limits.start:g} s"
            raise self._expired(StartTimeoutError, what, limits.start)
        return False

    def check_steps(self, endless: int) -> None:
        """Check how many answers in a row made the server ask the model again without a tool call.

        Raises:
            EndlessAnswerError: There are too many.
        """
        if endless >= _MOST_STEPS:
            raise EndlessAnswerError(
                f"in the turn of {self._key} the model answered {endless} times in a row without a tool call and "
                "without a finish reason that the server knows. The server would ask it again without end: look at the "
                "finish_reason that the provider sends",
                message_key=self._key,
            )

    def _expired(self, kind: type[TurnTimeoutError], what: str, seconds: float) -> TurnTimeoutError:
        return kind(f"the turn of {self._key} {what}", message_key=self._key, seconds=seconds)
