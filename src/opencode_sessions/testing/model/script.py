"""What the model is to answer, as data: a script of steps, one step for each request of a turn.

A turn with tools asks the model several times: it calls tools, is asked again with their results, and
so on until it answers without a call. Which step is due is told by the number of tool results alone.
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
        message: What the error says.
        retry_after: Seconds for the header `Retry-After`, if it is to be sent.
        times: How often, before the step is answered after all; None for ever.
    """

    status: int
    message: str
    retry_after: float | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks in the middle of the answer.

    Attributes:
        times: How often, before the step is answered whole; None for ever.
    """

    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The answer to one request.

    Attributes:
        reason: What it thinks aloud first.
        say: What it says. None says nothing beside tool calls; in a step without calls it leaves the
            words to the model: it quotes the tools' results, or echoes.
        calls: The tools that it calls, at once.
        pause: Seconds to wait before every delta.
        trouble: What goes wrong.
        finish: Why the provider says that the answer ends, such as `length`; by default `tool_calls` or `stop`. An
            empty text: the provider does not say why.
    """

    reason: str = ""
    say: str | None = None
    calls: tuple[Call, ...] = ()
    pause: float = 0.0
    trouble: Refusal | Cut | None = None
    finish: str | None = None


class Script:
    """The steps of one turn.

    A script that ends on a step with calls is closed with a sentence that quotes their results.
    """

    __slots__ = ("steps",)

    def __init__(self, *steps: Step) -> None:
        """Put the steps in order.

        Raises:
            ConfigurationError: A step before the last calls no tool, so those after it can never be
                reached: an answer without a call ends the turn.
        """
        for number, step in enumerate(steps[:-1], 1):
            if not step.calls:
                raise ConfigurationError(
                    f"Step {number} of {len(steps)} calls no tool, and such an answer ends the turn: "
                    "give it `calls`, or make it the last step."
                )
        self.steps = steps

    def step_after(self, results: int) -> Step:
        """The step that is due when so many tool results are there since the user's message."""
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
