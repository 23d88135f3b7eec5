"""`Turn`, in both faces: thin shells around one `TurnDriver`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar, get_args

from opencode_sessions.errors import ConfigurationError, OpencodeError
from opencode_sessions.faces import complete
from opencode_sessions.services.asks import Answer, AskHandler, InTheRow
from opencode_sessions.services.checks import check
from opencode_sessions.services.claiming import WhenBusy
from opencode_sessions.services.containing import Contained
from opencode_sessions.services.deadlines import Deadlines
from opencode_sessions.services.driver import TurnDriver
from opencode_sessions.services.finding import message_store
from opencode_sessions.services.observing import Observer
from opencode_sessions.services.options import File, TurnOptions
from opencode_sessions.services.plan import Plan
from opencode_sessions.services.reporting import ErrorContext, OnError, Reporter
from opencode_sessions.services.results import Fallback, TurnResult
from opencode_sessions.services.session import AsyncSession, Session
from opencode_sessions.services.shapes import SchemaLike, shape_of
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.wire.clients import AsyncClient, Client, blocking_wire, suspending_wire

__all__ = ["AsyncTurn", "Turn"]

S = TypeVar("S", Session, AsyncSession)
C = TypeVar("C", Client, AsyncClient)


class _Turn(Generic[S, C]):
    """What both faces are made from."""

    _asynchronous: ClassVar[bool]
    _session_kind: ClassVar[type[Session | AsyncSession]]

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
        files: Sequence[File] = (),
        schema: SchemaLike = None,
        when_busy: WhenBusy = "reject",
        on_ask: AskHandler | InTheRow | None = None,
        fallback: Fallback = None,
        deadlines: Deadlines | None = None,
        observer: Observer | None = None,
        store: MessageStore | None = None,
    ) -> None:
        if when_busy not in get_args(WhenBusy):
            raise ConfigurationError(
                f"when_busy must be one of {', '.join(get_args(WhenBusy))}, not {when_busy!r}"
            )
        if not self._asynchronous and inspect.iscoroutinefunction(on_ask):
            raise ConfigurationError(
                "on_ask must be an ordinary function here; opencode_sessions.aio awaits one"
            )
        check(
            on_ask is None or callable(on_ask) or isinstance(on_ask, InTheRow),
            "on_ask must be a function, IN_THE_ROW or None",
            on_ask,
        )
        check(deadlines is None or isinstance(deadlines, Deadlines), "deadlines must be Deadlines", deadlines)
        face = "opencode_sessions.aio" if self._asynchronous else "opencode_sessions"
        check(
            isinstance(session, self._session_kind), f"session must be the record's {face}.Session", session
        )
        found = message_store(message, store, asynchronous=self._asynchronous)
        self._client: C = client
        options = TurnOptions(
            agent=agent, model=model, system=system, variant=variant, files=files, shape=shape_of(schema)
        )
        plan = Plan(
            store=found,
            lifecycle=session.lifecycle,
            options=options,
            deadlines=deadlines or Deadlines(),
            observer=Contained(Observer() if observer is None else observer, session.lifecycle.swallow),
            on_ask=on_ask,
            fallback=fallback,
        )
        self._core = TurnDriver(plan, when_busy=when_busy)

    def report(self, error: Exception, on_error: OnError | None) -> None:
        """Hand on what kept this turn from being recovered."""
        try:
            key = self._core.key
        except OpencodeError:  # its row was deleted here, and has no key any more
            key = "a message without a row"
        Reporter(on_error)(error, ErrorContext("recover", key))


class Turn(_Turn[Session, Client]):
    """One prompt, one answer: the prompt in `message` goes to the session, the answer into `message`.

    It can be run by anyone, any number of times, at any moment: in the end there is one prompt in the session and
    one answer in the row.

    Args:
        message: A saved row of yours, whose model has the turn columns.
        session: The session of the record that it belongs to.
        client: Where to ask.
        agent, model, system, variant, files: See `TurnOptions`.
        schema: The answer is data that fits it: a JSON schema, a model of pydantic's or a dataclass. See
            `TurnResult.structured` and `TurnResult.value`.
        when_busy: Where another turn of the same record runs, in whatever process: `reject` raises, `wait` waits,
            `cancel` cancels that one first: the row, `by` this message's key (``"messages:8"``), then its agent. With
            either of the latter, where this very turn is run elsewhere, its end is waited for.
        on_ask: Answers what the agent asks, see `AskHandler`; `IN_THE_ROW` leaves it to `answer`, from any process;
            None: nobody answers, so it is refused at once, and the agent told.
        fallback: What the row says where the turn failed without a word; its error is stored apart from it.
        deadlines: In seconds.
        observer: Told of every change.
        store: A store of your own, instead of the message's.

    Raises:
        ConfigurationError: The message's model has no turn columns, or it cannot be reached from here; or another
            argument cannot work.
    """

    _asynchronous = False
    _session_kind = Session

    def run(self) -> TurnResult:
        """Ask, stream, store, and say how it ended.

        A message whose turn has ended is answered from its row. One that another runner began and died over is
        taken up: what the server has of it is read, and only what must be sent is sent. What goes wrong before the
        prompt is sent is raised, and the row stays `pending`; one that was taken up stays as it was left, abandoned,
        for the next recovery (`cancel` ends it where its server is gone for good). What goes wrong later is the
        turn's end: `failed`, with its error. Ctrl-C or a cancelled task stops the agent, ends the row, and is raised;
        the database's errors are raised, and leave the turn to be taken up.

        Raises:
            TurnInProgressError: It is running already, or another turn of its record is: see `when_busy`.
            TurnTakenError: Another runner took it from this one.
            OpencodeError: As `Session.ensure`.
        """
        return complete(self._core.run(blocking_wire(self._client)))

    def cancel(self, *, by: str = "caller") -> bool:
        """End the turn, from any process: the row first, then what runs on the server. What was answered is kept.

        Args:
            by: Who does it, for the row's `error`.

        Returns:
            False if it had ended already: what is stored stands.
        """
        return complete(self._core.cancel(blocking_wire(self._client), by=by))

    def answer(self, ask_id: str, answer: Answer) -> None:
        """Answer what the agent asks and the row holds (`asks`), from any process.

        Raises:
            AskAnsweredError: It was answered already, or waits no more.
            ConfigurationError: It is no answer to this kind of ask: nothing is told, and the turn waits on.
            OpenTransactionError: Within a transaction of yours, which would be held across the network.
        """
        complete(self._core.answer(blocking_wire(self._client), ask_id, answer))


class AsyncTurn(_Turn[AsyncSession, AsyncClient]):
    """`Turn` for asyncio: the same arguments, promises and errors."""

    _asynchronous = True
    _session_kind = AsyncSession

    async def run(self) -> TurnResult:
        """See `Turn.run`."""
        return await self._core.run(suspending_wire(self._client))

    async def cancel(self, *, by: str = "caller") -> bool:
        """See `Turn.cancel`."""
        return await self._core.cancel(suspending_wire(self._client), by=by)

    async def answer(self, ask_id: str, answer: Answer) -> None:
        """See `Turn.answer`."""
        await self._core.answer(suspending_wire(self._client), ask_id, answer)
