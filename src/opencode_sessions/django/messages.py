"""The message store for Django."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models
from django.utils import timezone

from opencode_sessions.django.rows import ModelRow
from opencode_sessions.store.messages import MessageState, TurnStatus

__all__ = ["DjangoMessageStore"]

_FIELDS = (
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


class DjangoMessageStore:
    """`MessageStore` over the row of a model's instance.

    Args:
        instance: Of any model with the fields of `MessageModel`.
        using: The database's alias; by default where the routers send writes of this instance.
        asynchronous: True for `opencode_sessions.aio`.

    Raises:
        ConfigurationError: The model lacks a field.
    """

    def __init__(
        self, instance: models.Model, *, using: str | None = None, asynchronous: bool = False
    ) -> None:
        self._row = ModelRow(instance, _FIELDS, using=using, asynchronous=asynchronous)

    @property
    def key(self) -> str:
        """See `MessageStore.key`."""
        return self._row.key

    def check(self) -> None:
        """See `MessageStore.check`."""
        self._row.check()

    async def load(self) -> MessageState:
        """See `MessageStore.load`."""
        return await self._row.run(self._state)

    async def start(self, expected: str | None, prompt_id: str) -> bool:
        """See `MessageStore.start`. A turn that is taken over keeps the time of its first start.

        Raises:
            django.db.IntegrityError: Another row has that prompt id.
        """
        values: dict[str, object] = {"status": TurnStatus.STREAMING.value, "opencode_prompt_id": prompt_id}
        if expected is None:
            return await self._write(
                {"status": TurnStatus.PENDING.value}, {**values, "started_at": timezone.now()}
            )
        return await self._write(_streaming_under(expected), values)

    async def snapshot(self, prompt_id: str, state: MessageState) -> bool:
        """See `MessageStore.snapshot`."""
        return await self._write(_streaming_under(prompt_id), _answer(state))

    async def finish(self, prompt_id: str, state: MessageState) -> bool:
        """See `MessageStore.finish`."""
        end = {"status": state.status.value, "finished_at": timezone.now()}
        return await self._write(_streaming_under(prompt_id), {**_answer(state), **end})

    def remember(self, state: MessageState) -> None:
        """See `MessageStore.remember`."""
        shown = {"status": state.status.value, "opencode_prompt_id": state.prompt_id}
        self._row.show({**_answer(state), **shown})

    async def _write(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        return await self._row.run(lambda: self._row.update(expected=expected, values=values))

    def _state(self) -> MessageState:
        found = self._row.select()
        return MessageState(
            prompt=found["prompt"],
            status=TurnStatus(found["status"]),
            prompt_id=found["opencode_prompt_id"],
            content=found["content"],
            parts=tuple(found["parts"]),
            error=found["error"],
            cost=found["cost"],
            input_tokens=found["input_tokens"],
            output_tokens=found["output_tokens"],
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
