"""The port of a message over named columns: the common part of all database stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Self

from opencode_sessions.protocol.storable import storable
from opencode_sessions.store.messages import PENDING_LEASE, MessageState, TurnStatus
from opencode_sessions.store.record_columns import EXPIRED, UID, Columns, Later
from opencode_sessions.store.together import Together

__all__ = ["ColumnMessages"]

_PENDING, _STREAMING, _CANCELLED = (
    status.value for status in (TurnStatus.PENDING, TurnStatus.STREAMING, TurnStatus.CANCELLED)
)


class ColumnMessages(Columns):
    """`MessageStore` over columns of these names."""

    columns = (
        "prompt",
        "status",
        "opencode_prompt_id",
        "opencode_prompt_session_id",
        "opencode_turn_epoch",
        "opencode_turn_lease",
        "opencode_turn_order",
        "opencode_turn_parked",
        "content",
        "parts",
        "asks",
        "error",
        "cost",
        "input_tokens",
        "output_tokens",
        "revision",
        "opencode_trace",
        "enqueued_at",
        "started_at",
        "finished_at",
        UID,
    )
    computed = EXPIRED

    _row: Any
    """The row, as `_together` names it."""
    _together: Together[Any] | None = None
    """Writes the turns of a process together; None: each is written alone."""

    _started_at: datetime | None = None
    _is_draft = True

    async def load(self) -> MessageState:
        """See `MessageStore.load`."""
        row = self._checked(await self._load())
        self._started_at = row["started_at"]
        self._is_draft = row["status"] == _PENDING and row["opencode_turn_lease"] is None
        return MessageState(
            prompt=row["prompt"],
            status=TurnStatus(row["status"]),
            epoch=row["opencode_turn_epoch"],
            abandoned=row["status"] == _STREAMING and bool(row[EXPIRED]),
            parked=row["status"] == _STREAMING and row["opencode_turn_parked"],
            session_id=row["opencode_prompt_session_id"],
            prompt_id=row["opencode_prompt_id"],
            content=row["content"],
            parts=tuple(row["parts"]),
            asks=tuple(row["asks"]),
            error=row["error"],
            cost=row["cost"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            revision=row["revision"],
            trace=row["opencode_trace"],
            enqueued_at=row["enqueued_at"],
            started_at=row["started_at"],
        )

    async def take(self, seen: MessageState, lease: float) -> bool:
        """See `MessageStore.take`. A turn that is taken again keeps the time of its first start."""
        values = {
            "status": _STREAMING,
            "opencode_turn_epoch": seen.epoch + 1,
            "opencode_turn_lease": Later(lease),
            "opencode_turn_parked": False,
            "started_at": self._started_at or self._now(),
        }
        return await self._set(_as_seen(seen), values)

    async def set_prompt_target(self, epoch: int, session_id: str, prompt_id: str) -> bool:
        """See `MessageStore.set_prompt_target`. If another row has that id, the database's own error is raised."""
        values = {"opencode_prompt_session_id": session_id, "opencode_prompt_id": prompt_id}
        return await self._set(_under(epoch), values)

    async def reset_to_pending(self, epoch: int, lease: float | None = None) -> bool:
        """See `MessageStore.reset_to_pending`. An enqueued turn is enqueued again; a draft is a draft again."""
        if lease is None and not self._is_draft:
            lease = PENDING_LEASE
        values = {
            "status": _PENDING,
            "opencode_prompt_session_id": None,
            "opencode_prompt_id": None,
            "opencode_turn_lease": None if lease is None else Later(lease),
            "started_at": None,
        }
        return await self._set(_under(epoch), values)

    async def extend(self, epoch: int, lease: float) -> bool:
        """See `MessageStore.extend`."""
        return await self._keep(epoch, {}, lease)

    async def park(self, epoch: int, lease: float) -> bool:
        """See `MessageStore.park`."""
        values = {"opencode_turn_lease": Later(lease), "opencode_turn_parked": True}
        return await self._set(_under(epoch), values)

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """See `MessageStore.snapshot`."""
        return await self._keep(epoch, _answer(state), lease)

    async def finish(self, epoch: int, state: MessageState) -> bool:
        """See `MessageStore.finish`."""
        return await self._set(_under(epoch), {**_answer(state), **self._end(state.status)})

    async def cancel(self, seen: MessageState, error: Mapping[str, Any]) -> bool:
        """See `MessageStore.cancel`."""
        return await self._end_as(TurnStatus.CANCELLED, seen, error)

    async def fail(self, seen: MessageState, error: Mapping[str, Any]) -> bool:
        """See `MessageStore.fail`."""
        return await self._end_as(TurnStatus.FAILED, seen, error)

    async def _end_as(self, status: TurnStatus, seen: MessageState, error: Mapping[str, Any]) -> bool:
        values = {
            **self._end(status),
            "opencode_turn_epoch": seen.epoch + 1,
            "asks": [],
            "error": storable(error),
            "revision": seen.revision + 1,
        }
        return await self._set(_as_seen(seen), values)

    async def update_after_cancel(self, epoch: int, state: MessageState) -> bool:
        """See `MessageStore.update_after_cancel`."""
        return await self._set(_under(epoch, TurnStatus.CANCELLED), _answer(replace(state, asks=())))

    def remember(self, state: MessageState) -> None:
        """See `MessageStore.remember`."""
        shown = {
            "status": state.status.value,
            "opencode_prompt_id": state.prompt_id,
            "opencode_prompt_session_id": state.session_id,
        }
        self._refresh_instance({**_answer(state), **shown})

    def through(self, together: Together[Any]) -> Self:
        """This store, with its frequent writes made through `together`."""
        self._together = together
        return self

    async def _keep(self, epoch: int, values: Mapping[str, object], lease: float) -> bool:
        """Write while the turn goes on, if possible together with other turns."""
        expected, values = self._own(_under(epoch)), {**values, "opencode_turn_lease": Later(lease)}
        if lease and self._together is not None and await self._together.write(self._row, expected, values):
            return True
        return await self._compare_and_set(expected, values)

    def _end(self, status: TurnStatus) -> dict[str, object]:
        return {"status": status.value, "opencode_turn_lease": None, "finished_at": self._now()}


def _under(epoch: int, status: TurnStatus = TurnStatus.STREAMING) -> dict[str, object]:
    return {"status": status.value, "opencode_turn_epoch": epoch}


def _as_seen(seen: MessageState) -> dict[str, object]:
    written = {"opencode_prompt_id": seen.prompt_id, "revision": seen.revision}
    return {**_under(seen.epoch, seen.status), **written}


def _answer(state: MessageState) -> dict[str, object]:
    return {
        "content": storable(state.content),
        "parts": [storable(part) for part in state.parts],
        "asks": [storable(ask) for ask in state.asks],
        "error": storable(state.error),
        "cost": state.cost,
        "input_tokens": state.input_tokens,
        "output_tokens": state.output_tokens,
        "revision": state.revision,
    }
