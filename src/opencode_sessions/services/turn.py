"""`Turn`, in both faces: thin shells around one `TurnDriver`."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from opencode_sessions.faces import complete
from opencode_sessions.services.driver import TurnDriver, TurnOptions
from opencode_sessions.services.finding import message_store
from opencode_sessions.services.following import Deadlines
from opencode_sessions.services.observing import Observer
from opencode_sessions.services.results import TurnResult
from opencode_sessions.services.session import AsyncSession, Session
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.wire.clients import AsyncClient, Client, blocking_wire, suspending_wire

__all__ = ["AsyncTurn", "Turn"]

S = TypeVar("S", Session, AsyncSession)
C = TypeVar("C", Client, AsyncClient)


class _Turn(Generic[S, C]):
    """What both faces are made from."""

    _asynchronous: ClassVar[bool]

    def __init__(
        self,
        message: Any,
        session: S,
        client: C,
        *,
        agent: str | None = None,
        model: str | None = None,
        system: str | None = None,
        variant: str | None = None,
        deadlines: Deadlines | None = None,
        observer: Observer | None = None,
        store: MessageStore | None = None,
    ) -> None:
        self._client: C = client
        self._core = TurnDriver(
            message_store(message, store, asynchronous=self._asynchronous),
            session.lifecycle,
            options=TurnOptions(agent=agent, model=model, system=system, variant=variant),
            deadlines=deadlines or Deadlines(),
            observer=observer or Observer(),
        )


class Turn(_Turn[Session, Client]):
    """One prompt, one answer: the prompt in `message` goes to the session, the answer into `message`.

    Args:
        message: A saved row of yours, whose model has the turn columns.
        session: The session of the record that it belongs to.
        client: Where to ask.
        agent, model, system, variant: See `TurnOptions`.
        deadlines: In seconds.
        observer: Told of every change.
        store: A store of your own, instead of the message's.

    Raises:
        ConfigurationError: The message's model has no turn columns, or it cannot be reached from here.
    """

    _asynchronous = False

    def run(self) -> TurnResult:
        """Ask, stream, store, and say how it ended.

        A message whose turn has ended is answered from its row. What goes wrong before the turn is taken is
        raised, and the row stays `pending`; what goes wrong later is the turn's end: `failed`, with its error.
        What breaks in from outside meanwhile (Ctrl-C, a cancelled task, the database's errors) stops the agent,
        ends the row, and is raised.

        Raises:
            TurnInProgressError: It is running already, or its runner died in it; or its session still answers
                another prompt, and this one stays `pending`: one turn at a time for a record.
            OpencodeError: As `Session.ensure`.
        """
        return complete(self._core.run(blocking_wire(self._client)))


class AsyncTurn(_Turn[AsyncSession, AsyncClient]):
    """`Turn` for asyncio: the same arguments, promises and errors."""

    _asynchronous = True

    async def run(self) -> TurnResult:
        """See `Turn.run`."""
        return await self._core.run(suspending_wire(self._client))
