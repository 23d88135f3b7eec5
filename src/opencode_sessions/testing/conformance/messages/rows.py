"""Rows in every state that a turn can be in, and what a caller may call on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from opencode_sessions.protocol.ids import new_message_id, new_session_id
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import Call
from opencode_sessions.testing.conformance.messages.port import (
    LOAD,
    Row,
    cancel,
    extend,
    fail,
    finish,
    park,
    reset_to_pending,
    set_prompt_target,
    snapshot,
    take,
    told,
    update_after_cancel,
)

__all__ = ["CANCELLED", "ENDS", "FAILED", "PROMPT", "SAID", "STATES", "Turn", "found", "turn_that_is"]

PROMPT: Final = "Where is Rome? 🇮🇹"

SAID: Final = MessageState(
    "another prompt, which is never stored",
    status=TurnStatus.COMPLETED,
    epoch=77,
    session_id="ses_of_another_turn",
    content="In Italy, said he.",
    parts=(
        {"type": "text", "text": "In Italy"},
        {"type": "tool", "state": {"input": {"n": [1, 2.5, None, True]}}},
    ),
    asks=({"id": "per_1", "kind": "permission", "metadata": {}},),
    cost=1.0123456789,
    input_tokens=120,
    output_tokens=7,
    revision=3,
)
"""An answer so far. What is no part of an answer is not to be stored from it."""

ENDS: Final = (
    replace(SAID, status=TurnStatus.COMPLETED, content="In Italy, of course.", asks=(), revision=4),
    replace(
        SAID, status=TurnStatus.CANCELLED, error={"name": "Cancelled", "by": "server"}, asks=(), revision=4
    ),
    replace(SAID, status=TurnStatus.FAILED, error={"name": "APIError", "status": 500}, asks=(), revision=4),
)

CANCELLED: Final[Mapping[str, Any]] = {"name": "Cancelled", "by": "ada"}

FAILED: Final[Mapping[str, Any]] = {"name": "ConfigurationError", "message": "no such model"}

STATES: Final = (
    "pending",
    "taken",
    "abandoned",
    "speaking",
    "parked",
    "put back",
    "taken over",
    "completed",
    "cancelled before it began",
    "cancelled while it spoke",
)
"""In all of which every call is made."""


@dataclass(frozen=True)
class Turn:
    """The ids of one row's turn, which no other row has.

    Attributes:
        session_id: Where its prompt goes.
        prompt_id: Under which id.
    """

    session_id: str
    prompt_id: str

    @classmethod
    def new(cls) -> Turn:
        """One that nobody had before."""
        return cls(new_session_id(), new_message_id())

    def way(self, state: str) -> tuple[Call, ...]:
        """How a pending row gets there."""
        begun = (take(MessageState(PROMPT)), set_prompt_target(1, self.session_id, self.prompt_id))
        spoke = (*begun, snapshot(1, SAID))
        streaming = MessageState(
            PROMPT,
            TurnStatus.STREAMING,
            epoch=1,
            revision=SAID.revision,
            session_id=self.session_id,
            prompt_id=self.prompt_id,
        )
        return {
            "pending": (),
            "taken": begun[:1],
            "addressed": begun,
            "abandoned": (*begun, extend(1, 0)),
            "speaking": spoke,
            "parked": (*spoke, park(1)),
            "put back": (*begun, reset_to_pending(1)),
            "taken over": (*spoke, extend(1, 0), take(streaming)),
            "completed": (*spoke, finish(1, ENDS[0])),
            "cancelled before it began": (cancel(MessageState(PROMPT), CANCELLED),),
            "cancelled while it spoke": (*spoke, cancel(streaming, CANCELLED)),
        }[state]

    def row(self, state: str) -> MessageState:
        """What is loaded there."""
        row: Row = MessageState(PROMPT)
        for call in self.way(state):
            welcome, row = told(call, row)
            assert welcome, f"{call} leads nowhere"
        assert isinstance(row, MessageState)
        return row

    def calls(self, row: MessageState) -> Sequence[Call]:
        """Every method, with what fits this row and with what does not."""
        older, newer = replace(row, epoch=row.epoch - 1), replace(row, epoch=row.epoch + 1)
        elsewhere = replace(row, prompt_id=None if row.prompt_id else self.prompt_id)
        seen = [older, newer, elsewhere, replace(row, revision=row.revision + 1)]
        seen = [each if not each.status.terminal else _begun(each) for each in seen]
        if not row.status.terminal:
            pending, streaming = (
                replace(row, status=status) for status in (TurnStatus.PENDING, TurnStatus.STREAMING)
            )
            seen += [pending, streaming]
        epochs = [row.epoch - 1, row.epoch + 1, row.epoch]
        return [
            LOAD,
            *(update_after_cancel(epoch, ENDS[1]) for epoch in epochs),
            *(extend(epoch) for epoch in epochs),
            extend(row.epoch, 0),
            *(park(epoch) for epoch in epochs),
            park(row.epoch, 0),
            *(set_prompt_target(epoch, self.session_id, self.prompt_id) for epoch in epochs),
            *(snapshot(epoch, SAID) for epoch in epochs),
            snapshot(row.epoch, replace(SAID, asks=(), revision=9), 0),
            *(cancel(each, CANCELLED) for each in seen),
            *(fail(each, FAILED) for each in seen),
            *(take(each) for each in seen),
            *(reset_to_pending(epoch) for epoch in epochs),
            *(finish(epoch, end) for epoch, end in zip(epochs, ENDS, strict=True)),
        ]


def _begun(state: MessageState) -> MessageState:
    """As somebody saw it who saw it before its end."""
    return replace(state, status=TurnStatus.STREAMING)


def turn_that_is(bench: RecordBench, state: str) -> tuple[Any, Turn]:
    """A row that was brought into that state, and its turn."""
    message, turn = bench.message(PROMPT), Turn.new()
    store, way = bench.store(message), turn.way(state)
    for call in way:
        bench.run(call.on(store))
    assert bench.run(LOAD.on(store)) == turn.row(state), f"a new row after {', '.join(map(str, way))}"
    return message, turn


def found(bench: RecordBench, message: Any) -> Row:
    """What a caller finds who has not been there before; `GONE` if the row vanished."""
    row: Row = bench.run(LOAD.on(bench.store(message)))
    return row
