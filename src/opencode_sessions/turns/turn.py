"""`Turn`, sync and async: thin shells around one `TurnDriver`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

from opencode_sessions.errors import ConfigurationError, OpencodeError
from opencode_sessions.reporting import ErrorContext, ErrorReporter, OnError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.streaming import astream, stream
from opencode_sessions.runtime.tasks import guarded
from opencode_sessions.sessions.servers import Servers
from opencode_sessions.sessions.session import AsyncSession, Session
from opencode_sessions.store.lookup import message_store, queue_of
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.store.queue import TurnQueue
from opencode_sessions.turns.asks import Answer, AskHandler, InTheRow
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.driver import TurnDriver
from opencode_sessions.turns.events import Listener, TurnEvent, TurnFinished
from opencode_sessions.turns.gate import Gate
from opencode_sessions.turns.observers import Listeners, Observers, listeners_of
from opencode_sessions.turns.options import File, FilesOf, TurnOptions
from opencode_sessions.turns.output_schema import SchemaLike, shape_of
from opencode_sessions.turns.ports import NoFiles, TurnFiles
from opencode_sessions.turns.results import Fallback, TurnResult
from opencode_sessions.turns.retelling import Retell
from opencode_sessions.turns.spec import OnCancel, TurnSpec
from opencode_sessions.validation import check_ordinary, is_coroutine_function, require
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = ["AsyncTurn", "Turn"]

S = TypeVar("S", Session, AsyncSession)
C = TypeVar("C", Client, AsyncClient)

OnClose = Literal["continue", "stop", "release"]
"""The effect on the turn when the iterator of its events is closed."""


class _Turn(Generic[S, C]):
    """The common part of the sync and the async class."""

    _asynchronous: ClassVar[bool]
    _session_kind: ClassVar[type[Session | AsyncSession]]

    def __init__(
        self,
        message: Any,
        session: S,
        client: C | Servers[C],
        *,
        agent: str | None = None,
        model: str | None = None,
        system: str | None = None,
        variant: str | None = None,
        files: Sequence[File] | FilesOf = (),
        schema: SchemaLike = None,
        retell: Retell | None = None,
        when_busy: WhenBusy = "reject",
        on_cancel: OnCancel = "stop",
        on_ask: AskHandler | InTheRow | None = None,
        fallback: Fallback = None,
        deadlines: Deadlines | None = None,
        observer: Observers = None,
        store: MessageStore | None = None,
        queue: TurnQueue | None = None,
        artifacts: TurnFiles | None = None,
        gate: Gate | None = None,
    ) -> None:
        if when_busy not in get_args(WhenBusy):
            raise ConfigurationError(
                f"when_busy must be one of {', '.join(get_args(WhenBusy))}, not {when_busy!r}"
            )
        require(
            on_cancel in get_args(OnCancel),
            f"on_cancel must be one of {', '.join(get_args(OnCancel))}",
            on_cancel,
        )
        if not self._asynchronous and is_coroutine_function(on_ask):
            raise ConfigurationError(
                "on_ask must be an ordinary function here; opencode_sessions.aio awaits one"
            )
        require(
            on_ask is None or callable(on_ask) or isinstance(on_ask, InTheRow),
            "on_ask must be a function, IN_THE_ROW or None",
            on_ask,
        )
        require(
            deadlines is None or isinstance(deadlines, Deadlines), "deadlines must be Deadlines", deadlines
        )
        check_ordinary("fallback", fallback)
        check_ordinary("retell", retell)
        require(retell is None or callable(retell), "retell must be a function of a record", retell)
        module = "opencode_sessions.aio" if self._asynchronous else "opencode_sessions"
        require(
            isinstance(session, self._session_kind), f"session must be the record's {module}.Session", session
        )
        found = message_store(message, store, asynchronous=self._asynchronous)
        self._session: S = session
        self._client: C | Servers[C] = client
        options = TurnOptions(
            agent=agent,
            model=model,
            system=system,
            variant=variant,
            files=files,
            shape=shape_of(schema),
            retell=retell,
        )
        self._spec = TurnSpec(
            store=found,
            lifecycle=session.lifecycle,
            options=options,
            deadlines=deadlines or Deadlines(),
            listeners=Listeners(listeners_of(observer), session.lifecycle.report_suppressed),
            on_ask=on_ask,
            fallback=fallback,
            on_cancel=on_cancel,
            queue=queue_of(message, queue, asynchronous=self._asynchronous),
            artifacts=artifacts or NoFiles(),
            gate=gate,
        )
        self._core = TurnDriver(self._spec, when_busy=when_busy)

    def _closes(self, on_close: OnClose) -> OnClose:
        require(
            on_close in get_args(OnClose), f"on_close must be one of {', '.join(get_args(OnClose))}", on_close
        )
        return on_close

    def _report_suppressed(self, error: Exception) -> None:
        """Report an error of a turn whose iterator was closed."""
        self._spec.lifecycle.report_suppressed("stream", self._spec.listeners.session_id, error)

    def row_written(self) -> None:
        """Make a turn that runs here read its row at once, to see whether another process has taken or ended it.

        With asyncio, call it in the event loop, otherwise from any thread.
        """
        self._core.row_written()

    def report(self, error: Exception, on_error: OnError | None) -> None:
        """Report the error that kept this turn from being recovered."""
        try:
            key = self._core.key
        except OpencodeError:  # its row was deleted here, and has no key any more
            key = "a message without a row"
        ErrorReporter(on_error)(error, ErrorContext("recover", key))


class Turn(_Turn[Session, Client]):
    """One prompt, one answer: the prompt in `message` goes to the session, the answer into `message`.

    Any process can run it, any number of times, at any moment. In the end there is one prompt in the session and one
    answer in the row.

    Args:
        message: A saved row of yours, whose model has the turn columns.
        session: The session of the message's record.
        client: The client of the OpenCode server, or `Servers`.
        agent: The agent's name; by default the server's.
        model: As ``"provider/model"``. By default the model of the session's last prompt, and for a first prompt the
            agent's.
        system: Text that is added to the system prompt.
        variant: The model's variant, such as ``"high"``; on the 2.x line only together with `model`.
        files: Files that go with the prompt; see also `opencode_sessions.files.Uploads.attached`.
        schema: The schema of a structured answer: a JSON schema, a pydantic model or a dataclass. See
            `TurnResult.structured` and `TurnResult.value`. Not on a server of the 2.x line.
        retell: A function from the record to what was said before, such as `retold` writes it. The text goes with the
            first prompt of each session, so that an agent in a new session knows it. It costs one request a prompt.
        when_busy: The action if another turn of the same record runs in any process. `reject` raises, and `wait` waits.
            `cancel` cancels the other turn: its row, with this message's key as `by`, and then its agent. With `wait`
            and `cancel`, if this same turn runs in another process, the caller waits for its end.
        on_cancel: The effect of Ctrl-C or a cancelled task in the runner: `stop` stops the agent and ends the turn as
            `cancelled`; `release` hands the turn over to the next runner, as `release()` does.
        on_ask: Answers the agent's asks: see `AskHandler`. With `IN_THE_ROW`, an ask waits for `answer` from any
            process. With None, each ask is refused at once, and the agent is told so.
        fallback: Text stored in `content` if the turn fails before it produces any. `error` is stored separately.
        deadlines: The time limits, in seconds; see `Deadlines`.
        observer: Gets every event: an `Observer`, a function that takes a `TurnEvent`, or several of them.
        store: A store of your own, instead of the message's.
        queue: Runs turns in the background. It is called when this turn was parked and must run again, and when the
            next turn of its record may run. By default the message's own: with Django, the runner of the settings.
        artifacts: Collects the files that the agent makes. A host with `artifacts` in its settings sets it.
        gate: Tells whether the turn may begin now. A host with limits sets it.

    Raises:
        ConfigurationError: The message's model has no turn columns, its database cannot be reached from here, or
            another argument cannot work.
    """

    _asynchronous = False
    _session_kind = Session

    def run(self, *, park: bool = False) -> TurnResult:
        """Send the prompt, follow and store the answer, and return the result.

        If the turn has ended, the result comes from the row. If its runner died, this call recovers the turn: it reads
        the turn's state on the server, and sends the prompt only if necessary.

        An error before the prompt is sent is raised, and the row stays `pending`. A recovered turn stays abandoned
        then, for the next recovery; if its server is gone for good, `cancel` ends it. A later error ends the turn as
        `failed`, with the error in its row. Ctrl-C or a cancelled task stops the agent, ends the row, and is raised
        (see `on_cancel`). SystemExit, as from a signal handler, and the database's errors are raised; another runner
        recovers the turn.

        Args:
            park: For jobs of a queue, with `IN_THE_ROW`. After the agent has waited two seconds for a person and does
                nothing else, the row says that the turn is parked, and TurnParkedError is raised. `answer` calls the
                `queue`; run the turn again then. If nobody answers within `Deadlines.person`, the row is abandoned.

        Raises:
            TurnInProgressError: This turn, or another turn of its record, runs already: see `when_busy`. Or another
                turn took the record, because this process stalled for `Deadlines.lease` before it sent the prompt.
            TurnTakenError: Another runner took the turn from this one.
            TurnReleasedError: `release` was called.
            TurnParkedError: See `park`.
            TurnLimitError: The `gate` says that the turn may not begin now.
            OpencodeError: As `Session.ensure`.
        """
        return run_sync(self._core.run(self._session.wire(self._client), park=park))

    def stream(self, *, on_close: OnClose = "continue") -> Generator[TurnEvent]:
        """Run the turn, as `run` does, in a thread of its own, and yield its events.

            for event in turn.stream():
                if isinstance(event, ReplyChanged):
                    print(event.change.delta, end="")

        The last event is a `TurnFinished`, also if the turn had ended before. The turn starts when the first event is
        requested, and does not wait for the caller that iterates.

        Args:
            on_close: The effect of closing the iterator before the end. With `continue` the turn runs on, and a later
                error goes to `on_error`. `stop` cancels the turn. `release` hands it over to the next runner.

        Raises:
            OpencodeError: As `run`.
        """
        how = {"continue": lambda: None, "stop": lambda: self.cancel(by="stream"), "release": self.release}
        close = how[self._closes(on_close)]

        def run(tell: Callable[[TurnEvent], object]) -> TurnEvent:
            with self._spec.listeners.also(_all_but_the_end(tell)):
                return TurnFinished(self.run())

        return stream(run, close=close, report=self._report_suppressed)

    def cancel(self, *, by: str = "caller") -> bool:
        """End the turn, from any process: the row first, then what runs on the server. The answer so far is kept.

        Args:
            by: The name of the person or program, for the row's `error`.

        Returns:
            False if the turn had ended already; its row is unchanged.
        """
        return run_sync(self._core.cancel(self._session.wire(self._client), by=by))

    def release(self) -> None:
        """Hand the turn over to the next runner, from another thread than the one that runs it.

        When this returns, the row is abandoned: `streaming`, without a lease. The agent works on. `run()` raises
        TurnReleasedError, at the latest when its current request is answered. This object cannot run the turn again. A
        client that is closed releases the turns that use it. If the turn does not run in this object, or has ended,
        nothing changes.

        Call it from a thread, never from a signal handler: the handler would interrupt the write that this call waits
        for. In a signal handler, raise SystemExit.
        """
        run_sync(self._core.release(self._session.wire(self._client)))

    def answer(self, ask_id: str, answer: Answer) -> None:
        """Answer an ask in the row (`asks`), from any process. A parked turn is enqueued again.

        Raises:
            AskAnsweredError: The ask was answered already, or no longer waits.
            AskChangedError: The ask differs from the one that `answer.shown` names; it still waits.
            ConfigurationError: The answer does not fit this kind of ask. Nothing is sent, and the turn still waits.
            OpenTransactionError: The call is inside a transaction of yours, which would be held across the network.
        """
        run_sync(self._core.answer(self._session.wire(self._client), ask_id, answer))


class AsyncTurn(_Turn[AsyncSession, AsyncClient]):
    """`Turn` for asyncio: the same arguments, promises and errors."""

    _asynchronous = True
    _session_kind = AsyncSession

    async def run(self, *, park: bool = False) -> TurnResult:
        """See `Turn.run`. A task that is cancelled waits until the agent has stopped, for 10 s at most."""
        return await guarded(self._core.run(self._session.wire(self._client), park=park), cancels=True)

    def stream(self, *, on_close: OnClose = "continue") -> AsyncGenerator[TurnEvent]:
        """See `Turn.stream`: the turn runs in a task of its own, so that a cancelled task closes the iterator only."""

        async def go_on() -> None:
            pass

        how: dict[OnClose, Callable[[], Awaitable[object]]] = {
            "continue": go_on,
            "stop": lambda: self.cancel(by="stream"),
            "release": self.release,
        }
        close = how[self._closes(on_close)]

        async def run(tell: Callable[[TurnEvent], object]) -> TurnEvent:
            with self._spec.listeners.also(_all_but_the_end(tell)):
                return TurnFinished(await self.run())

        return astream(run, close=close, report=self._report_suppressed)

    async def cancel(self, *, by: str = "caller") -> bool:
        """See `Turn.cancel`. It is completed even if the task is cancelled."""
        return await guarded(self._core.cancel(self._session.wire(self._client), by=by), cancels=False)

    async def release(self) -> None:
        """See `Turn.release`. Call it from another task."""
        await guarded(self._core.release(self._session.wire(self._client)), cancels=False)

    async def answer(self, ask_id: str, answer: Answer) -> None:
        """See `Turn.answer`. It is completed even if the task is cancelled."""
        await guarded(self._core.answer(self._session.wire(self._client), ask_id, answer), cancels=False)


def _all_but_the_end(tell: Listener) -> Listener:
    """Drop `TurnFinished`: the iterator makes it from the result of `run`, also for a turn that had ended before."""
    return lambda event: None if isinstance(event, TurnFinished) else tell(event)
