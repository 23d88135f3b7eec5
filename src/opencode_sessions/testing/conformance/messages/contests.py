"""What callers can want of one turn at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.store.messages import MessageState, MessageStore
from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import DELETE, Call
from opencode_sessions.testing.conformance.messages.port import (
    LOAD,
    cancel,
    explained,
    extend,
    fail,
    finish,
    park,
    reset_to_pending,
    set_prompt_target,
    snapshot,
    take,
    update_after_cancel,
)
from opencode_sessions.testing.conformance.messages.rows import (
    CANCELLED,
    ENDS,
    FAILED,
    SAID,
    Turn,
    turn_that_is,
)

__all__ = ["CONTESTS", "VANISHING", "Contest", "Round"]


@dataclass(frozen=True)
class Contest:
    """So many callers at once, each with one call.

    Attributes:
        state: Of the row before.
        calls: What is called on that row, turn about; given the number of the caller.
        one_wins: Whether it is one of them that gets what all want.
    """

    state: str
    calls: Callable[[Turn, MessageState, int], Sequence[Call]]
    one_wins: bool = False

    def on(self, bench: RecordBench, callers: int) -> Round:
        """With a row of its own, before its start."""
        message, turn = turn_that_is(bench, self.state)
        row, calls = turn.row(self.state), []
        for number in range(callers):
            choice = self.calls(turn, row, number)
            calls.append(choice[number % len(choice)])
        return Round(self, row, message, calls, bench.store(message))


@dataclass(frozen=True)
class Round:
    """A contest on one row.

    Attributes:
        contest: Which.
        before: What the row is.
        message: Its name, as the bench gave it.
        calls: What the callers call.
        witness: A store of one who takes no part.
    """

    contest: Contest
    before: MessageState
    message: Any
    calls: Sequence[Call]
    witness: MessageStore

    def check(self, bench: RecordBench, answers: Sequence[Any]) -> None:
        """Are the answers some that the callers could have had one after the other?"""
        end = bench.run(LOAD.on(self.witness))
        said = "\n".join(f"  {call} → {answer}" for call, answer in zip(self.calls, answers, strict=True))
        story = f"the row was {self.before}\n{said}\nand is {end}"
        if self.contest.one_wins:
            assert answers.count(True) == 1, f"one had to win: {story}"
        assert explained(self.before, self.calls, answers, end), f"no order explains this: {story}"


def _said(number: int) -> MessageState:
    """What that caller says."""
    return replace(SAID, content=f"said by {number}", revision=10 + number)


def _ended(number: int) -> MessageState:
    return replace(ENDS[number % len(ENDS)], content=f"ended by {number}", revision=10 + number)


CONTESTS: Final[Mapping[str, Contest]] = {
    "take": Contest("pending", lambda _, row, __: [take(row)], one_wins=True),
    "take what was abandoned": Contest("abandoned", lambda _, row, __: [take(row)], one_wins=True),
    "take what was parked": Contest("parked", lambda _, row, __: [take(row)], one_wins=True),
    "finish": Contest("speaking", lambda _, row, n: [finish(row.epoch, _ended(n))], one_wins=True),
    "cancel": Contest("speaking", lambda _, row, __: [cancel(row, CANCELLED)], one_wins=True),
    "cancel before it began": Contest("pending", lambda _, row, __: [cancel(row, CANCELLED)], one_wins=True),
    "reset_to_pending": Contest("addressed", lambda _, row, __: [reset_to_pending(row.epoch)], one_wins=True),
    "take, cancel": Contest("pending", lambda _, row, __: [take(row), cancel(row, CANCELLED)], one_wins=True),
    "take, fail": Contest("pending", lambda _, row, __: [take(row), fail(row, FAILED)], one_wins=True),
    "finish, cancel": Contest(
        "speaking", lambda _, row, n: [finish(row.epoch, _ended(n)), cancel(row, CANCELLED)], one_wins=True
    ),
    "finish, take over": Contest(
        "abandoned", lambda _, row, n: [finish(row.epoch, _ended(n)), take(row)], one_wins=True
    ),
    "snapshot": Contest("speaking", lambda _, row, n: [snapshot(row.epoch, _said(n))]),
    "set_prompt_target": Contest(
        "taken", lambda turn, row, _: [set_prompt_target(row.epoch, turn.session_id, new_message_id())]
    ),
    "update_after_cancel": Contest(
        "cancelled while it spoke", lambda _, row, n: [update_after_cancel(row.epoch, _said(n))]
    ),
    "snapshot, extend, take over, cancel": Contest(
        "abandoned",
        lambda _, row, n: [
            snapshot(row.epoch, _said(n)),
            extend(row.epoch),
            take(row),
            cancel(row, CANCELLED),
        ],
    ),
    "park, extend, take over": Contest(
        "abandoned", lambda _, row, __: [park(row.epoch), extend(row.epoch), take(row)]
    ),
    "reset_to_pending, set_prompt_target, take over, finish": Contest(
        "taken",
        lambda turn, row, n: [
            reset_to_pending(row.epoch),
            set_prompt_target(row.epoch, turn.session_id, turn.prompt_id),
            take(row),
            finish(row.epoch, _ended(n)),
        ],
    ),
    "cancel, update_after_cancel, finish, load": Contest(
        "speaking",
        lambda _, row, n: [
            cancel(row, CANCELLED),
            update_after_cancel(row.epoch + 1, _said(n)),
            finish(row.epoch, _ended(n)),
            LOAD,
        ],
    ),
}
"""By what they want."""

VANISHING: Final[Mapping[str, Contest]] = {
    "take, cancel, load": Contest(
        "pending", lambda _, row, __: [DELETE, take(row), cancel(row, CANCELLED), LOAD]
    ),
    "snapshot, finish, extend": Contest(
        "speaking",
        lambda _, row, n: [
            snapshot(row.epoch, _said(n)),
            finish(row.epoch, _ended(n)),
            DELETE,
            extend(row.epoch),
        ],
    ),
}
"""Contests in which the row is deleted."""
