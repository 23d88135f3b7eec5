"""Limits for those that messages belong to, such as users or tenants: turns at a time, and budgets.

They are kept by the rows alone: what is counted is what the rows say. So they hold in all processes, and a crash leaves
nothing to put right.
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
    """What the turns may use that a message shares a limit with.

    Attributes:
        name: Of whom, for errors: ``"user 7"``.
        of: Which messages count: a condition on the message's model, as its ORM has them (SQLAlchemy's
            ``Message.user_id == 7``, Django's ``Q(user=7)``). In memory, a function of a message.
        turns: How many of them run at once.
        cost: How much all of them may cost, in US dollars, the running ones included.
        tokens: How many tokens all of them may take, in and out.
        since: Cost and tokens count from turns that began then; None: from all.
        waits: Whether a turn that comes when `turns` run waits; else it fails. One that is over a budget always fails.

    Raises:
        ConfigurationError: One cannot work.
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
        limit: Which.
        usage: What the turns have used that count.
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
        """A store through which a turn writes that ends when the budget is spent."""
        limited = self._limit.cost is not None or self._limit.tokens is not None
        return _BudgetStore(store, self) if limited else store

    async def check_spent(self, key: str) -> None:
        """Is the budget spent, by the rows?

        Raises:
            BudgetExceededError: It is.
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
    """A message's store that looks at the budget whenever the turn has cost something more."""

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
    """Several gates as one. None of them is held: each counts rows.

    Args:
        gates: In the order in which they are asked.
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
