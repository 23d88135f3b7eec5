"""The message store for SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import Connection

from opencode_sessions.sqlalchemy.base import RowStore
from opencode_sessions.sqlalchemy.rows import show
from opencode_sessions.store.messages import MessageState, TurnStatus

__all__ = ["SQLAlchemyMessageStore"]


class SQLAlchemyMessageStore(RowStore):
    """`MessageStore` over one mapped row; see `RowStore` for its arguments."""

    attributes: ClassVar[tuple[str, ...]] = (
        "prompt",
        "status",
        "opencode_prompt_id",
        "content",
        "parts",
        "error",
        "cost",
        "input_tokens",
        "output_tokens",
        "started_at",
        "finished_at",
    )

    async def load(self) -> MessageState:
        """See `MessageStore.load`."""
        return await self._run(self._state)

    async def start(self, expected: str | None, prompt_id: str) -> bool:
        """See `MessageStore.start`. A turn that is taken over keeps the time of its first start.

        Raises:
            sqlalchemy.exc.IntegrityError: Another row has that prompt id.
        """
        values: dict[str, object] = {"status": TurnStatus.STREAMING.value, "opencode_prompt_id": prompt_id}
        if expected is None:
            return await self._write(
                {"status": TurnStatus.PENDING.value}, {**values, "started_at": datetime.now(UTC)}
            )
        return await self._write(_streaming_under(expected), values)

    async def snapshot(self, prompt_id: str, state: MessageState) -> bool:
        """See `MessageStore.snapshot`."""
        return await self._write(_streaming_under(prompt_id), _answer(state))

    async def finish(self, prompt_id: str, state: MessageState) -> bool:
        """See `MessageStore.finish`."""
        end = {"status": state.status.value, "finished_at": datetime.now(UTC)}
        return await self._write(_streaming_under(prompt_id), {**_answer(state), **end})

    def remember(self, state: MessageState) -> None:
        """See `MessageStore.remember`. Nothing is begun in the copy's ORM session, and nothing left to flush."""
        if self._row.instance is not None:
            shown = {"status": state.status.value, "opencode_prompt_id": state.prompt_id}
            show(self._row.instance, {**_answer(state), **shown})

    async def _write(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        def work(connection: Connection) -> bool:
            with connection.begin():
                return self._update(connection, expected=expected, values=values)

        return await self._run(work)

    def _state(self, connection: Connection) -> MessageState:
        found = self._select(connection)
        return MessageState(
            prompt=found.prompt,
            status=TurnStatus(found.status),
            prompt_id=found.opencode_prompt_id,
            content=found.content,
            parts=tuple(found.parts),
            error=found.error,
            cost=found.cost,
            input_tokens=found.input_tokens,
            output_tokens=found.output_tokens,
        )


def _streaming_under(prompt_id: str) -> dict[str, object]:
    return {"status": TurnStatus.STREAMING.value, "opencode_prompt_id": prompt_id}


def _answer(state: MessageState) -> dict[str, object]:
    return {
        "content": state.content,
        "parts": [dict(part) for part in state.parts],
        "error": None if state.error is None else dict(state.error),
        "cost": state.cost,
        "input_tokens": state.input_tokens,
        "output_tokens": state.output_tokens,
    }
