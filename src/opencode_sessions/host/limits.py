"""Limits for the owners of messages, such as users or tenants: turns at a time, and budgets.

Only rows are counted. So the limits hold in all processes, and a crash needs no repair.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opencode_sessions.errors import BudgetExceededError, TurnLimitError
from opencode_sessions.sessions.servers import Placement
from opencode_sessions.store.messages import MessageState, MessageStore
from opencode_sessions.store.turn_table import Place, Usage
from opencode_sessions.turns.gate import Gate
from opencode_sessions.validation import require

__all__ = ["Gates", "Limit", "LimitFor", "MessageLimit", "UsageOf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit that the turns of some messages share.

    Attributes:
        name: The owner, for errors: ``"user 7"``.
        of: The messages that share the limit: a condition in the form of the ORM (SQLAlchemy's
            ``Message.user_id == 7``, Django's ``Q(user=7)``). In memory, a function of a message.
        turns: How many of these turns may run at once.
        cost: The budget for all of them, in US dollars, including running turns.
        tokens: The budget of input and output tokens for all of them.
        since: Cost and tokens count only for turns that began then or later; None: for all.
        waits: If `turns` are reached, whether the turn waits; otherwise it fails. A turn over a budget always fails.

    Raises:
        ConfigurationError: One of them cannot work.
    """

    name: str
    of: Any
    turns: int | None = None
    cost: float | None = None
    tokens: int | None = None
    since: datetime | None = None
    waits: bool = True

    def __post_init__(self) -> None:
        require(isinstance(self.name, str) and self.name != "", "a limit's name must be a text", self.name)
        for name in ("turns", "cost", "tokens"):
            value = getattr(self, name)
            fits = value is None or (isinstance(value, int | float) and value > 0)
            require(fits, f"a limit's {name} must be a number above 0, or None", value)


LimitFor = Callable[[Any], Limit | None]
UsageOf = Callable[[Any, Any, datetime | None], Awaitable[Usage]]


class MessageLimit:
    """The limit of one message's turn: a `Gate`, and a store that notices when a budget is spent.

    Args:
        limit: The limit.
        usage: Returns the use of the turns that share it.
    """

    def __init__(self, limit: Limit, usage: Callable[[], Awaitable[Usage]]) -> None:
        self._limit = limit
        self._usage = usage

    async def admit(self, record: Placement, key: str, *, begun: bool) -> None:  # noqa: ARG002 - the port's
        """See `Gate.admit`."""
        limit, used = self._limit, await self._usage()
        self._check_budget(used, key, "cannot begin")
        if limit.turns is not None and used.running + (0 if begun else 1) > limit.turns:
            raise TurnLimitError(
                f"the turn of {key} cannot begin: {limit.turns} turns of {limit.name} run, and that is as many as may. "
                "Run it later",
                message_key=key,
                limit=limit.name,
                waits=limit.waits,
            )

    async def places(self, record: Placement) -> Sequence[Place]:  # noqa: ARG002 - the port's
        """See `Gate.places`."""
        return [] if self._limit.turns is None else [Place(of=self._limit.of)]

    def store(self, store: MessageStore) -> MessageStore:
        """A store that ends its turn when the budget is spent."""
        limited = self._limit.cost is not None or self._limit.tokens is not None
        return _BudgetStore(store, self) if limited else store

    async def check_spent(self, key: str) -> None:
        """Check the budget against the rows.

        Raises:
            BudgetExceededError: The budget is spent.
        """
        self._check_budget(await self._usage(), key, "was ended")

    def _check_budget(self, used: Usage, key: str, what: str) -> None:
        limit = self._limit
        spent = [
            f"{of:g} of {most:g} {unit}"
            for of, most, unit in (
                (used.cost, limit.cost, "US dollars"),
                (used.tokens, limit.tokens, "tokens"),
            )
            if most is not None and of >= most
        ]
        if spent:
            raise BudgetExceededError(
                f"the turn of {key} {what}: the budget of {limit.name} is spent, {' and '.join(spent)}. Raise the "
                "limit, or wait for the next period",
                message_key=key,
            )


class _BudgetStore:
    """A message's store that checks the budget whenever the cost of the turn has grown."""

    def __init__(self, store: MessageStore, limit: MessageLimit) -> None:
        self._store = store
        self._limit = limit
        self._seen = (0.0, 0, 0)

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """See `MessageStore.snapshot`."""
        kept = await self._store.snapshot(epoch, state, lease)
        spent = (state.cost, state.input_tokens, state.output_tokens)
        if kept and spent != self._seen:
            self._seen = spent
            await self._limit.check_spent(self._store.key)
        return kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Gates:
    """Several gates as one.

    Args:
        gates: The gates, in the order of their calls.
    """

    def __init__(self, *gates: Gate) -> None:
        self._gates = gates

    async def admit(self, record: Placement, key: str, *, begun: bool) -> None:
        """See `Gate.admit`."""
        for gate in self._gates:
            await gate.admit(record, key, begun=begun)

    async def places(self, record: Placement) -> Sequence[Place]:
        """See `Gate.places`."""
        return [place for gate in self._gates for place in await gate.places(record)]
