"""Scripts: the model's answers as data, with one step for each request of a turn.

A turn with tools asks the model several times: it calls tools, is asked again with their results, and so on until it
answers without a call. The number of tool results alone determines the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.errors import ConfigurationError

__all__ = ["Call", "Cut", "Refusal", "Script", "Step"]


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The provider answers with an error instead.

    Attributes:
        status: The HTTP status; OpenCode retries 429 and 5xx, and gives up on other 4xx.
        message: The error's text.
        retry_after: Seconds for the header `Retry-After`; None: without that header.
        times: How often, before the step is answered; None: always.
    """

    status: int
    message: str
    retry_after: float | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks in the middle of the answer.

    Attributes:
        times: How often, before the step is answered completely; None: always.
    """

    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The answer to one request.

    Attributes:
        reason: The reasoning text that comes first.
        say: The text. None means no text beside tool calls; in a step without calls the model quotes the tools'
            results, or echoes the prompt.
        calls: The tools that it calls, at once.
        pause: Seconds to wait before every delta.
        trouble: The fault of this step.
        finish: The provider's reason for the end of the answer, such as `length`; by default `tool_calls` or `stop`. An
            empty text: the provider gives no reason.
    """

    reason: str = ""
    say: str | None = None
    calls: tuple[Call, ...] = ()
    pause: float = 0.0
    trouble: Refusal | Cut | None = None
    finish: str | None = None


class Script:
    """The steps of one turn.

    If a script ends with a step with calls, the model adds a sentence that quotes their results.
    """

    __slots__ = ("steps",)

    def __init__(self, *steps: Step) -> None:
        """Put the steps in order.

        Raises:
            ConfigurationError: A step before the last calls no tool. Such an answer ends the turn, so the later steps
                could never be reached.
        """
        for number, step in enumerate(steps[:-1], 1):
            if not step.calls:
                raise ConfigurationError(
                    f"Step {number} of {len(steps)} calls no tool, and such an answer ends the turn: "
                    "give it `calls`, or make it the last step."
                )
        self.steps = steps

    def step_after(self, results: int) -> Step:
        """The step for this number of tool results since the user's message."""
        for step in self.steps:
            if results <= 0:
                return step
            results -= len(step.calls)
        return Step(pause=self.steps[-1].pause) if self.steps else Step()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Script) and self.steps == other.steps

    def __hash__(self) -> int:
        return hash(self.steps)

    def __repr__(self) -> str:
        return f"Script({', '.join(map(repr, self.steps))})"
