"""`AsyncHost` and `Host`: one object in a process, around one `_HostCore`."""

from __future__ import annotations

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from opencode_sessions.display import ShownAsk, display_ask
from opencode_sessions.errors import AskAnsweredError, ConfigurationError
from opencode_sessions.host.settings import HostSettings
from opencode_sessions.host.steering import Refused, check_answer
from opencode_sessions.host.tables import HostTable, HostTables
from opencode_sessions.host.turn_options import turn_options
from opencode_sessions.jobs.ports import Dispatcher, PreparedTurn
from opencode_sessions.jobs.queue import RecordQueue
from opencode_sessions.jobs.task_pool import TaskPool
from opencode_sessions.jobs.thread_pool import ThreadPool
from opencode_sessions.live import LiveHub
from opencode_sessions.live.observer import LiveObserver
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.runtime.shutdown import install_handlers, on_signal
from opencode_sessions.runtime.stepping import result_of, run_sync
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.sessions.session import AsyncSession, Session
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.turns.asks import Answer
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.observers import listeners_of
from opencode_sessions.turns.results import TurnResult
from opencode_sessions.turns.turn import AsyncTurn, Turn
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = ["AsyncHost", "Host"]

C = TypeVar("C", Client, AsyncClient)


class _HostCore(ABC, Generic[C]):
    """What the sync and the async class have in common: a `JobHost` and a `Dispatcher`.

    Attributes:
        settings: What was given.
        table: All tables.
        live: Who watches turns in this process.
    """

    def __init__(
        self, settings: HostSettings, tables: HostTables, live: LiveHub, dispatcher: Dispatcher | None
    ) -> None:
        self.settings = settings
        self.table = tables
        self.live = live
        self._given = dispatcher
        self._pool: ThreadPool | TaskPool | None = None
        self._signals: list[Callable[[], None]] = []
        self._client: C | None = None

    def _mind_signals(self) -> None:
        """When the process is told to end, streams end at once: servers wait for them before they end the app."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._signals = [on_signal(number, self.live.end) for number in numbers]
        install_handlers()

    def _forget_signals(self) -> None:
        while self._signals:
            self._signals.pop()()

    @property
    def client(self) -> C:
        """The client of this process.

        Raises:
            ConfigurationError: The host is not started, or stopped.
        """
        if self._client is None:
            raise ConfigurationError(
                "this host is not started: enter it (`with opencode:`, `async with opencode:`), or give its lifespan "
                "to the app"
            )
        return self._client

    @property
    def idle(self) -> bool:
        """Does this process run no turn, and is none waiting here to be run?"""
        return self._pool is None or self._pool.idle

    @property
    def pending_lease(self) -> float:
        """See `Dispatcher.pending_lease`."""
        return self._dispatcher.pending_lease

    @property
    def _dispatcher(self) -> Dispatcher:
        # After the end it is the pool that has stopped: turns that end only then release what comes after them.
        found = self._given or self._pool
        if found is None:
            _ = self.client
        return found  # type: ignore[return-value]  # a host that is started has a pool

    def _check_started(self) -> None:
        if self._given is None:
            _ = self.client

    @abstractmethod
    def turn_for(self, message: Any, **options: Any) -> Turn | AsyncTurn:
        """The turn of a message, with all that the settings say.

        Args:
            message: Of one of the tables, with a row.
            options: Of `Turn`; they come before those of `turn_options`.

        Raises:
            ConfigurationError: It is of no table of this host's, belongs to no record, or the options cannot work.
        """

    def _session_options(self, message: Any) -> dict[str, Any]:
        return {**self.settings.session_options(), "store": self.table.of(message).record_store(message)}

    def _turn_options(self, message: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        job = self.table.job_of(message)
        given = turn_options("turn_options", self.settings.turn_options, message)
        watched = LiveObserver(self.live, self.table.key_of(message))
        defaults = {
            "on_ask": self.settings.on_ask,
            "store": self.table.store(job, message),
            "queue": RecordQueue(self.table, message, self),
        }
        found: dict[str, Any] = {**defaults, **given, **options}
        return {**found, "observer": (watched, *listeners_of(found.get("observer")))}

    async def prepare(self, message: Any, *, store: MessageStore, when_busy: WhenBusy) -> PreparedTurn:
        """See `JobHost.prepare`."""
        given = turn_options("turn_options", self.settings.turn_options, message)
        busy = given.get("when_busy", when_busy)
        turn = self.turn_for(message, store=store, when_busy=busy)
        deadlines = given.get("deadlines") or Deadlines()
        return PreparedTurn(turn, busy, deadlines, partial(self.announce, message))

    def announce(self, message: Any, result: TurnResult) -> None:  # noqa: ARG002 - the port's
        """See `JobHost.announce`."""
        self.live.finished(self.table.key_of(message))

    def report(self, error: Exception, action: str, key: str) -> None:
        """See `JobHost.report`."""
        ErrorReporter(self.settings.on_error)(error, ErrorContext(action, key))

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`. An error is reported, and the turn released to others."""
        try:
            self._dispatcher.dispatch(job)
        except Exception as error:  # noqa: BLE001 - it is committed: the row is there for whoever looks
            self._release(job)
            self.report(error, "enqueue", str(job))

    @abstractmethod
    def _release(self, job: TurnJob) -> None:
        """Let others run it."""

    async def _enqueue(self, message: Any) -> None:
        self._check_started()
        await self.table.reserve(message, self.pending_lease)
        self.table.after_commit(message, partial(self.dispatch, self.table.job_of(message)))

    async def _cancel(self, message: Any, by: str) -> bool:
        cancelled: bool = await result_of(self.turn_for(message).cancel(by=by))
        if cancelled:
            self.live.finished(self.table.key_of(message))
        return cancelled

    async def _answer(self, message: Any, answer: Answer, ask_id: str) -> None:
        shown = await self._shown(message, ask_id)
        check_answer(answer.reply, answer.labels, shown, allow_always=self.settings.allow_always)
        answered: Awaitable[None] | None = self.turn_for(message).answer(ask_id, answer)
        await result_of(answered)
        self.live.row_changed(self.table.key_of(message), eagerly=True)

    async def _shown(self, message: Any, ask_id: str) -> ShownAsk:
        job = self.table.job_of(message)
        row = await self.table.store(job, message).load()
        for ask in row.asks:
            if ask.get("id") == ask_id:
                return display_ask(ask, row.parts)
        raise AskAnsweredError(f"{job} waits for no answer to {ask_id}", ask_id=ask_id)

    async def _retry(self, message: Any) -> Any:
        self._check_started()
        table = self.table.of(message)
        found = await table.retry(message, self.settings.retry, self.pending_lease)
        if found is None:
            state = await self.table.store(table.job_of(message), message).load()
            raise Refused(409, f"There is nothing to be tried again: it is {state.status}.")
        again, made = found
        if made:
            self.dispatch(table.job_of(again))
        return again


class AsyncHost(_HostCore[AsyncClient]):
    """What a process needs to run turns beside its requests and to show them, for asyncio.

    It works while it is entered (`async with opencode:`), in one event loop at a time.

    Args:
        settings: What holds for all turns.
        tables: The tables of messages, such as `SQLAlchemyTurnTable(Message, sessionmaker)`, over async engines.
        dispatcher: Who runs the turns that are enqueued; by default tasks of this process. With another one, this
            process takes up no turns that others left behind.

    Raises:
        ConfigurationError: The tables do not go with it.
    """

    _pool: TaskPool | None

    def __init__(
        self,
        settings: HostSettings,
        tables: Iterable[HostTable],
        *,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        found = HostTables(tables, suspend=True)
        super().__init__(settings, found, LiveHub(found, Tasks()), dispatcher)
        self._releases: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self._client is None:
            self._client = AsyncClient(**self.settings.client_options())
            if self._given is None:
                self._pool = TaskPool(self, self.settings.turns or 100, recover=self.settings.recover)
                self._pool.start()
            self._mind_signals()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_signals()
        client = self._client
        try:
            if client is not None and self._pool is not None:
                await self._pool.stop()
        finally:
            self._client = None
            if client is not None:
                await client.close()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:  # noqa: ARG002 - ASGI frameworks give it
        """What an app of Starlette or FastAPI takes as its `lifespan`; call it within your own if you have one."""
        async with self:
            yield

    def session_for(self, message: Any) -> AsyncSession:
        """The session of the record that a message belongs to."""
        return AsyncSession(message, **self._session_options(message))

    def turn_for(self, message: Any, **options: Any) -> AsyncTurn:
        """See `_HostCore.turn_for`."""
        found = self._turn_options(message, options)
        return AsyncTurn(message, self.session_for(message), self.client, **found)

    async def enqueue(self, message: Any) -> None:
        """Have a message's turn run when the transaction that it is in has committed.

        The row says at once, in the same transaction, that it is going to be run: if this process dies before it does,
        another one finds it. It may be called again for the same message: one turn is run.

        Args:
            message: Added to an ORM session whose transaction is open.

        Raises:
            ConfigurationError: The host is not started; or the message is of none of its tables, belongs to no record,
                or is in no ORM session. Nothing is stored then.
        """
        await self._enqueue(message)

    async def cancel(self, message: Any, *, by: str) -> bool:
        """End a message's turn, wherever it runs; see `Turn.cancel`."""
        return await self._cancel(message, by)

    async def answer(self, message: Any, ask_id: str, answer: Answer) -> None:
        """Answer what the agent asks; see `Turn.answer`.

        Raises:
            Refused: This host does not take such an answer.
            OpencodeError: As `Turn.answer`.
        """
        await self._answer(message, answer, ask_id)

    async def retry(self, message: Any) -> Any:
        """Ask again what failed or was cancelled, in a new message; however often it is called, in one.

        Raises:
            Refused: It did not fail, and was not cancelled.
        """
        return await self._retry(message)

    def _release(self, job: TurnJob) -> None:
        task = asyncio.get_running_loop().create_task(self.table.release([job]))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)


class Host(_HostCore[Client]):
    """`AsyncHost` for code that blocks, as of Flask or a script: the same arguments, with tables over sync engines."""

    _pool: ThreadPool | None

    def __init__(
        self,
        settings: HostSettings,
        tables: Iterable[HostTable],
        *,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        found = HostTables(tables, suspend=False)
        super().__init__(settings, found, LiveHub(found, Threads()), dispatcher)

    def __enter__(self) -> Self:
        if self._client is None:
            self._client = Client(**self.settings.client_options())
            if self._given is None:
                self._pool = ThreadPool(self, self.settings.turns or 8, recover=self.settings.recover)
                self._pool.start()
            self._mind_signals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_signals()
        client = self._client
        try:
            if client is not None and self._pool is not None:
                self._pool.stop()
        finally:
            self._client = None
            if client is not None:
                client.close()

    def session_for(self, message: Any) -> Session:
        """See `AsyncHost.session_for`."""
        return Session(message, **self._session_options(message))

    def turn_for(self, message: Any, **options: Any) -> Turn:
        """See `_HostCore.turn_for`."""
        found = self._turn_options(message, options)
        return Turn(message, self.session_for(message), self.client, **found)

    def enqueue(self, message: Any) -> None:
        """See `AsyncHost.enqueue`."""
        run_sync(self._enqueue(message))

    def cancel(self, message: Any, *, by: str) -> bool:
        """See `AsyncHost.cancel`."""
        return run_sync(self._cancel(message, by))

    def answer(self, message: Any, ask_id: str, answer: Answer) -> None:
        """See `AsyncHost.answer`."""
        run_sync(self._answer(message, answer, ask_id))

    def retry(self, message: Any) -> Any:
        """See `AsyncHost.retry`."""
        return run_sync(self._retry(message))

    def _release(self, job: TurnJob) -> None:
        run_sync(self.table.release([job]))
