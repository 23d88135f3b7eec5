"""The port as a function: what a call answers on a row, and what the row is afterwards.

| call | on a row that is | makes it |
|---|---|---|
| `take(seen)` | pending or streaming, with the same status, epoch, prompt's id and revision | streaming, next epoch |
| `set_prompt_target` | streaming under that epoch | say where its prompt goes |
| `reset_to_pending` | the same | pending, of the same epoch, with no prompt's place |
| `extend`, `snapshot` | the same | not abandoned, unless the lease is 0; a snapshot has the answer so far |
| `park` | the same | parked, and not abandoned, unless the lease is 0 |
| `finish` | the same | ended as it is told to, with the whole answer |
| `cancel(seen)`, `fail(seen)` | as for `take` | cancelled or failed, under the next epoch, asking nothing |
| `update_after_cancel` | cancelled under that epoch | have another answer |

`take`, and whatever ends a turn or puts it back, also ends that it is parked.

A call on any other row is refused: it returns False, and the row stays as it was. On a row that is gone, `load`
raises `RecordGoneError`, and the other calls return False. A call changes only what its name says. So the prompt is
never written, and `snapshot` and `update_after_cancel` ignore the status, epoch and prompt target that they are given.
A caller must not give `take`, `cancel` or `fail` a turn that it has seen ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.testing.conformance.calls import DELETE, GONE, Call

__all__ = [
    "LEASE",
    "LOAD",
    "Row",
    "cancel",
    "explained",
    "extend",
    "fail",
    "finish",
    "park",
    "reset_to_pending",
    "set_prompt_target",
    "snapshot",
    "take",
    "told",
    "update_after_cancel",
]

Row = MessageState | str
"""A row's state, or `GONE`."""

LEASE: Final = 3600.0
"""Longer than any test."""

LOAD: Final = Call("load")


def take(seen: MessageState, lease: float = LEASE) -> Call:
    """`MessageStore.take`."""
    return Call("take", (seen, lease))


def set_prompt_target(epoch: int, session_id: str, prompt_id: str) -> Call:
    """`MessageStore.set_prompt_target`."""
    return Call("set_prompt_target", (epoch, session_id, prompt_id))


def reset_to_pending(epoch: int) -> Call:
    """`MessageStore.reset_to_pending`."""
    return Call("reset_to_pending", (epoch,))


def extend(epoch: int, lease: float = LEASE) -> Call:
    """`MessageStore.extend`."""
    return Call("extend", (epoch, lease))


def park(epoch: int, lease: float = LEASE) -> Call:
    """`MessageStore.park`."""
    return Call("park", (epoch, lease))


def snapshot(epoch: int, state: MessageState, lease: float = LEASE) -> Call:
    """`MessageStore.snapshot`."""
    return Call("snapshot", (epoch, state, lease))


def finish(epoch: int, state: MessageState) -> Call:
    """`MessageStore.finish`."""
    return Call("finish", (epoch, state))


def cancel(seen: MessageState, error: Mapping[str, Any]) -> Call:
    """`MessageStore.cancel`."""
    return Call("cancel", (seen, error))


def fail(seen: MessageState, error: Mapping[str, Any]) -> Call:
    """`MessageStore.fail`."""
    return Call("fail", (seen, error))


def update_after_cancel(epoch: int, state: MessageState) -> Call:
    """`MessageStore.update_after_cancel`."""
    return Call("update_after_cancel", (epoch, state))


def told(call: Call, row: Row) -> tuple[Any, Row]:
    """The answer, and the row afterwards."""
    if call == DELETE:
        return None, GONE
    if isinstance(row, str):
        return (GONE if call == LOAD else False), row
    if call == LOAD:
        return row, row
    after = _AFTER[call.method](row, *call.arguments)
    return after is not None, after or row


def explained(row: Row, calls: Sequence[Call], answers: Sequence[Any], end: Row) -> bool:
    """Could calls that were made at once have been made one after the other, with these answers and this end?"""
    refuted: set[tuple[str, frozenset[int]]] = set()

    def explains(row: Row, left: frozenset[int]) -> bool:
        if not left:
            return row == end
        if (repr(row), left) in refuted:
            return False
        for number in left:
            answer, then = told(calls[number], row)
            if answer == answers[number] and explains(then, left - {number}):
                return True
        refuted.add((repr(row), left))
        return False

    return explains(row, frozenset(range(len(calls))))


def _take(row: MessageState, seen: MessageState, lease: float) -> MessageState | None:
    if not _is_as_seen(row, seen):
        return None
    return replace(row, status=TurnStatus.STREAMING, epoch=row.epoch + 1, abandoned=lease <= 0, parked=False)


def _set_prompt_target(row: MessageState, epoch: int, session_id: str, prompt_id: str) -> MessageState | None:
    if not _runs(row, epoch):
        return None
    return replace(row, session_id=session_id, prompt_id=prompt_id)


def _reset_to_pending(row: MessageState, epoch: int) -> MessageState | None:
    if not _runs(row, epoch):
        return None
    idle = replace(row, status=TurnStatus.PENDING, abandoned=False, parked=False)
    return replace(idle, session_id=None, prompt_id=None)


def _extend(row: MessageState, epoch: int, lease: float) -> MessageState | None:
    return replace(row, abandoned=lease <= 0) if _runs(row, epoch) else None


def _park(row: MessageState, epoch: int, lease: float) -> MessageState | None:
    return replace(row, abandoned=lease <= 0, parked=True) if _runs(row, epoch) else None


def _snapshot(row: MessageState, epoch: int, state: MessageState, lease: float) -> MessageState | None:
    return replace(_with_answer(row, state), abandoned=lease <= 0) if _runs(row, epoch) else None


def _finish(row: MessageState, epoch: int, state: MessageState) -> MessageState | None:
    if not _runs(row, epoch):
        return None
    return replace(_with_answer(row, state), status=state.status, abandoned=False, parked=False)


def _cancel(row: MessageState, seen: MessageState, error: Mapping[str, Any]) -> MessageState | None:
    return _ended(row, TurnStatus.CANCELLED, seen, error)


def _fail(row: MessageState, seen: MessageState, error: Mapping[str, Any]) -> MessageState | None:
    return _ended(row, TurnStatus.FAILED, seen, error)


def _ended(
    row: MessageState, status: TurnStatus, seen: MessageState, error: Mapping[str, Any]
) -> MessageState | None:
    if not _is_as_seen(row, seen):
        return None
    ended = replace(row, status=status, epoch=row.epoch + 1, revision=row.revision + 1)
    return replace(ended, abandoned=False, parked=False, asks=(), error=error)


def _update_after_cancel(row: MessageState, epoch: int, state: MessageState) -> MessageState | None:
    if (row.status, row.epoch) != (TurnStatus.CANCELLED, epoch):
        return None
    return replace(_with_answer(row, state), asks=())


def _is_as_seen(row: MessageState, seen: MessageState) -> bool:
    names = ("status", "epoch", "prompt_id", "revision")
    return all(getattr(row, name) == getattr(seen, name) for name in names)


def _runs(row: MessageState, epoch: int) -> bool:
    return (row.status, row.epoch) == (TurnStatus.STREAMING, epoch)


def _with_answer(row: MessageState, state: MessageState) -> MessageState:
    return replace(
        row,
        content=state.content,
        parts=tuple(state.parts),
        asks=tuple(state.asks),
        error=state.error,
        cost=state.cost,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
        revision=state.revision,
    )


_AFTER: Final[Mapping[str, Callable[..., MessageState | None]]] = {
    "take": _take,
    "set_prompt_target": _set_prompt_target,
    "reset_to_pending": _reset_to_pending,
    "extend": _extend,
    "park": _park,
    "snapshot": _snapshot,
    "finish": _finish,
    "cancel": _cancel,
    "fail": _fail,
    "update_after_cancel": _update_after_cancel,
}
