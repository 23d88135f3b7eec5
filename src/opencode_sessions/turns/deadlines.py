"""How long a turn may take, and who watches over it. A wait for a person stops the clocks."""

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
"""The server has no limit: it asked 63 times in 30 s (1.18.33)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds after which something is given up; `math.inf` is no limit.

    Attributes:
        start: Without a sign of an answer after the prompt.
        silence: Without an event of this session or its sub-agents.
        unreachable: Since the state could last be read, while every look fails.
        total: For one run of a turn, from its taking to its end; whoever takes it up from a dead runner has as much.
        person: For a person to answer what the agent asks, by default a day; then it is refused, and the agent goes on
            without. Until then the clocks of the others stand still.
        queue: Before the turn begins, for another one in the same session, with `when_busy` of `wait` or `cancel`.
        lease: Without a write of its runner, after which another may take the turn up. It should be longer than the
            longest request with its repetitions, during which nothing is written. It has an end.
        look: Without an event before the state is read again; no deadline, but what finds a lost idle. It has an end.

    Raises:
        ConfigurationError: One of them is no number of seconds above 0.
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
        heard: When there last was a sign of life, by the clock.
        begun: There is a sign of an answer.
        first_token: Seconds from the prompt to the first text, thought or tool call, if it has come.
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
        """The prompt was sent; once more does not begin its deadline anew."""
        self._sent = self.heard = self._clock.monotonic()
        if not self._is_prompted:
            self._is_prompted, self._prompted = True, self._sent

    def hear(self) -> None:
        """There was a sign of life."""
        self.heard = self._clock.monotonic()

    def since_sent(self) -> float:
        """In seconds."""
        return self._clock.monotonic() - self._sent

    def due(self, *, waiting_since: float | None) -> float:
        """When the next deadline passes, by the clock, if nothing happens before; see `check`."""
        limits = self._deadlines
        if waiting_since is not None:
            left = limits.person - waiting_since
            return self._clock.monotonic() + left if left > 0 else math.inf
        start = math.inf if self.begun else self._prompted + limits.start
        return min(self._began + limits.total, self.heard + limits.silence, start)

    def check(self, *, waiting_since: float | None) -> bool:
        """Has a person had long enough?

        Args:
            waiting_since: For how many seconds a person has been waited for, if one is.

        Raises:
            TurnTimeoutError: A deadline passed.
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
        """Count the answers in a row after which the server asks the model again without a tool call.

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
