"""`AsyncHost` and `Host`: one object in a process, around one `HostCore`."""

from __future__ import annotations

import asyncio
import atexit
import signal
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

from opencode_sessions.display import ShownAsk
from opencode_sessions.host.core import HostCore
from opencode_sessions.host.server_counts import acount_servers, count_servers
from opencode_sessions.host.settings import HostSettings
from opencode_sessions.host.tables import HostTable, HostTables
from opencode_sessions.jobs.ports import Dispatcher, QueueDispatcher
from opencode_sessions.jobs.task_pool import TaskPool
from opencode_sessions.jobs.thread_pool import SHUTDOWN_TIMEOUT, ThreadPool
from opencode_sessions.live.notifier import Notifier
from opencode_sessions.live.relay import Relay
from opencode_sessions.runtime.shutdown import install_handlers, on_signal
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.tasks import TaskLock, Tasks
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.sessions.servers import Servers
from opencode_sessions.sessions.session import AsyncSession, Session
from opencode_sessions.store.turn_table import ServerCount, TurnJob
from opencode_sessions.turns.asks import Answer
from opencode_sessions.turns.turn import AsyncTurn, Turn
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = ["AsyncHost", "Host"]


class AsyncHost(HostCore[AsyncClient]):
    """Runs turns in the background of a process and shows them, for asyncio.

    It works while it is entered (`async with opencode:`), in one event loop at a time.

    Args:
        settings: The settings for all turns.
        tables: The tables of messages, such as `SQLAlchemyTurnTable(Message, sessionmaker)`, over async engines.
        dispatcher: Runs the enqueued turns; by default tasks of this process. With another dispatcher, this process
            does not recover abandoned turns.
        notifier: Lets the processes of the app notify each other, such as `ValkeyNotifier(url)`. Without one, each
            process polls the rows of its watched turns that run in other processes.

    Raises:
        ConfigurationError: The tables do not fit this class.
    """

    suspends = True
    _pool: TaskPool | None

    def __init__(
        self,
        settings: HostSettings,
        tables: Iterable[HostTable],
        *,
        dispatcher: Dispatcher | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        found = HostTables(tables, suspend=True)
        super().__init__(settings, found, Relay(notifier, Tasks()), Tasks(), dispatcher)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = TaskLock()

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            ConfigurationError: It is started already; or another one with other settings is, for the same rows.
        """
        self._begin()
        try:
            self._servers = self._make_servers(AsyncClient)
        except BaseException:
            self._begun.close()
            raise
        if self._given is None:
            self._pool = TaskPool(self, self.settings.turns or 100, recover=self.settings.recover)
            self._pool.start()
        install_handlers()
        return self

    async def ready(self) -> None:
        """See `JobHost.ready`. The host then works until the event loop ends, or `__aexit__` is called."""
        if self._servers is None:
            await self.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it. A second stop waits for the first one."""
        servers = self._servers
        async with self._stopping:
            if servers is not None and servers is self._servers:  # else another stop was first
                await self._stop(servers)

    async def _stop(self, servers: Servers[AsyncClient]) -> None:
        try:
            # Turns that are just ending or beginning need the client and the pool until the end.
            if self._pool is not None:
                await self._pool.stop()
            await self.live.close(SHUTDOWN_TIMEOUT)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=SHUTDOWN_TIMEOUT)
            await self._relay.close()
        finally:
            self._pool = self._servers = None
            self._begun.close()
            for client in servers.values():
                await client.close()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:  # noqa: ARG002 - ASGI frameworks give it
        """The `lifespan` for a Starlette or FastAPI app. If you have a lifespan of your own, enter this one in it."""
        async with self:
            yield

    def session_for(self, message: Any) -> AsyncSession:
        """The session of the record that a message belongs to."""
        return AsyncSession(message, **self._session_options(message))

    def turn_for(self, message: Any, **options: Any) -> AsyncTurn:
        """See `HostCore.turn_for`."""
        found = self._turn_options(message, self._given_options(message), options)
        return self._make_turn(message, found)

    def _make_turn(self, message: Any, options: Mapping[str, Any]) -> AsyncTurn:
        return AsyncTurn(message, self.session_for(message), self.servers, **options)

    async def enqueue(self, message: Any) -> None:
        """Run a message's turn in the background after the commit of the caller's transaction.

        The same transaction stores in the row that the turn must run. So if this process dies, another one finds the
        turn. Repeated calls for one message run one turn.

        Args:
            message: A message in an ORM session with an open transaction.

        Raises:
            ConfigurationError: The host is not started; or the message is of none of its tables, has no record, or is
                in no ORM session. Nothing is stored then.
        """
        await self._enqueue(message)

    async def cancel(self, message: Any, *, by: str) -> bool:
        """Cancel a message's turn, in whatever process it runs; see `Turn.cancel`."""
        return await self._cancel(message, by)

    async def asked(self, message: Any, ask_id: str) -> ShownAsk:
        """An ask in full, for a person to decide. The events of a turn shorten a long ask.

        Raises:
            AskAnsweredError: The ask no longer waits for an answer.
        """
        return await self._asked(message, ask_id)

    async def answer(self, message: Any, ask_id: str, answer: Answer) -> None:
        """Answer an ask; see `Turn.answer`.

        Raises:
            Refused: This host does not accept such an answer.
            OpencodeError: As `Turn.answer`.
        """
        await self._answer(message, answer, ask_id)

    async def retry(self, message: Any) -> Any:
        """Retry a turn that failed or was cancelled, in a new message. Repeated calls return the same new message.

        Raises:
            Refused: The turn did not fail, and was not cancelled.
        """
        return await self._retry(message)

    def dispatch(self, job: TurnJob) -> None:
        """See `HostCore.dispatch`. A task sends the job to a queue, so that the event loop does not wait."""
        if isinstance(self._dispatcher, QueueDispatcher):
            self._do(self._send(self._dispatcher, job))
        else:
            super().dispatch(job)

    async def _send(self, queue: QueueDispatcher, job: TurnJob) -> None:
        try:
            await queue.adispatch(job)
        except Exception as error:  # noqa: BLE001 - it is committed: the row is there for whoever looks
            self.report(error, "enqueue", str(job))
            await self._leave(job)

    def _release(self, job: TurnJob) -> None:
        self._do(self._leave(job))

    async def _count_servers(self, running: Mapping[str | None, int]) -> list[ServerCount]:
        return await acount_servers(self.settings, running)

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Host(HostCore[Client]):
    """`AsyncHost` for blocking code, such as Flask or a script. The arguments are the same, with sync engines."""

    suspends = False
    _pool: ThreadPool | None

    def __init__(
        self,
        settings: HostSettings,
        tables: Iterable[HostTable],
        *,
        dispatcher: Dispatcher | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        found = HostTables(tables, suspend=False)
        super().__init__(settings, found, Relay(notifier, Threads()), Threads(), dispatcher)
        self._starting = threading.Lock()
        self._stopping = threading.RLock()  # a signal handler may stop it while its thread is stopping it

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            ConfigurationError: It is started already; or another one with other settings is, for the same rows.
        """
        self._begin()
        try:
            self._servers = self._make_servers(Client)
        except BaseException:
            self._begun.close()
            raise
        if self._given is None:
            self._pool = ThreadPool(self, self.settings.turns or 8, recover=self.settings.recover)
            self._pool.start()
        self._begun.callback(on_signal(signal.SIGTERM, self._told_to_end))
        install_handlers()
        return self

    async def ready(self) -> None:
        """See `JobHost.ready`. The host then works until the process ends."""
        with self._starting:
            if self._servers is None:
                self.__enter__()
                atexit.register(self.__exit__, None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it. A second stop waits for the first one."""
        servers = self._servers
        with self._stopping:
            if servers is not None and servers is self._servers:  # else another stop was first
                self._stop(servers)

    def _stop(self, servers: Servers[Client]) -> None:
        try:
            if self._pool is not None:
                self._pool.stop()
                self._pool.join(SHUTDOWN_TIMEOUT)
            run_sync(self.live.close(SHUTDOWN_TIMEOUT))
            run_sync(self._relay.close())
        finally:
            self._pool = self._servers = None
            self._begun.close()
            for client in servers.values():
                client.close()

    def _told_to_end(self) -> None:
        """Release its turns: nothing else may be called before the process ends.

        What the signal interrupts may hold a lock that is in the way. So it is done in a thread of its own.
        """
        if self._pool is not None:
            stopping = threading.Thread(target=self._pool.stop, name="opencode-sessions end", daemon=True)
            with suppress(RuntimeError):  # no thread can be started: the leases run out by themselves
                stopping.start()
                stopping.join(SHUTDOWN_TIMEOUT)

    def session_for(self, message: Any) -> Session:
        """See `AsyncHost.session_for`."""
        return Session(message, **self._session_options(message))

    def turn_for(self, message: Any, **options: Any) -> Turn:
        """See `HostCore.turn_for`."""
        found = self._turn_options(message, self._given_options(message), options)
        return self._make_turn(message, found)

    def _make_turn(self, message: Any, options: Mapping[str, Any]) -> Turn:
        return Turn(message, self.session_for(message), self.servers, **options)

    def enqueue(self, message: Any) -> None:
        """See `AsyncHost.enqueue`."""
        run_sync(self._enqueue(message))

    def cancel(self, message: Any, *, by: str) -> bool:
        """See `AsyncHost.cancel`."""
        return run_sync(self._cancel(message, by))

    def asked(self, message: Any, ask_id: str) -> ShownAsk:
        """See `AsyncHost.asked`."""
        return run_sync(self._asked(message, ask_id))

    def answer(self, message: Any, ask_id: str, answer: Answer) -> None:
        """See `AsyncHost.answer`."""
        run_sync(self._answer(message, answer, ask_id))

    def retry(self, message: Any) -> Any:
        """See `AsyncHost.retry`."""
        return run_sync(self._retry(message))

    def _release(self, job: TurnJob) -> None:
        run_sync(self._leave(job))

    async def _count_servers(self, running: Mapping[str | None, int]) -> list[ServerCount]:
        return count_servers(self.settings, running)
