"""`HostCore`: the common part of `AsyncHost` and `Host`."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from opencode_sessions.display import ShownAsk, display_ask
from opencode_sessions.errors import AskAnsweredError, ConfigurationError
from opencode_sessions.files.message_files import MessageFiles
from opencode_sessions.files.ports import ArtifactStore
from opencode_sessions.host.files import FileService
from opencode_sessions.host.settings import HostSettings
from opencode_sessions.host.started import started
from opencode_sessions.host.steering import check_answer, not_again
from opencode_sessions.host.tables import HostTables
from opencode_sessions.host.turn_options import turn_options, with_uploads
from opencode_sessions.jobs.ports import Dispatcher, PreparedTurn, TransactionalDispatcher
from opencode_sessions.jobs.queue import RecordQueue
from opencode_sessions.jobs.resends import Resends
from opencode_sessions.jobs.task_pool import TaskPool
from opencode_sessions.jobs.thread_pool import ThreadPool
from opencode_sessions.live import LiveHub
from opencode_sessions.live.notes import RowWritten
from opencode_sessions.live.observer import LiveObserver
from opencode_sessions.live.relay import Relay
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.runtime.ports import Runtime
from opencode_sessions.runtime.shutdown import on_signal
from opencode_sessions.runtime.stepping import result_of
from opencode_sessions.sessions.servers import Placement, Servers
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.store.turn_table import ServerCount, TurnJob
from opencode_sessions.turns.asks import Answer
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.events import TurnFound
from opencode_sessions.turns.gate import Gate, leave_places, may_begin
from opencode_sessions.turns.observers import drop, listeners_of
from opencode_sessions.turns.results import TurnResult
from opencode_sessions.turns.turn import AsyncTurn, Turn
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = ["HostCore"]

C = TypeVar("C", Client, AsyncClient)


class HostCore(ABC, Generic[C]):
    """The common part of the sync and the async class: a `JobHost` and a `Dispatcher`.

    Attributes:
        settings: The host's settings.
        table: All tables as one.
        live: The watchers of turns in this process.
        resends: See `QueueHost.resends`.
    """

    suspends: ClassVar[bool]

    def __init__(
        self,
        settings: HostSettings,
        tables: HostTables,
        relay: Relay,
        runtime: Runtime,
        dispatcher: Dispatcher | None,
    ) -> None:
        self.settings = settings
        self.table = tables
        self.live = LiveHub(tables, runtime, lambda: relay)
        self.resends = Resends()
        self._relay = relay
        self._given = dispatcher
        self._pool: ThreadPool | TaskPool | None = None
        self._begun = ExitStack()
        self._servers: Servers[C] | None = None

    def _begin(self) -> None:
        """Refuse what cannot be started; else know when the process is told to end, until `self._begun` is closed.

        Raises:
            ConfigurationError: It is started already, or another one with other settings is, for the same rows.
        """
        if self._servers is not None:
            raise ConfigurationError(
                "this host is started already: enter it once in a process, where the app begins, and use it everywhere"
            )
        self._begun.enter_context(started(self.settings, self.table.places))
        # Streams end at once: servers wait for them before they end the app.
        for number in (signal.SIGTERM, signal.SIGINT):
            self._begun.callback(on_signal(number, self.live.end))

    @property
    def client(self) -> C:
        """The client of this process, if it has one server; else see `servers`.

        Raises:
            ConfigurationError: The host is not started, or stopped; or it has several servers.
        """
        if len(self.servers) > 1:
            raise ConfigurationError(
                f"this host has several servers, {', '.join(self.servers)}: take the client of one, such as "
                f"host.servers[{next(iter(self.servers))!r}], or give host.servers to Session and Turn"
            )
        return next(iter(self.servers.values()))

    @property
    def servers(self) -> Servers[C]:
        """The clients of this process, by the servers' names; `Session` and `Turn` take it in place of a client.

        Raises:
            ConfigurationError: The host is not started, or stopped.
        """
        if self._servers is None:
            raise ConfigurationError(
                "this host is not started: enter it (`with opencode:`, `async with opencode:`), or give its lifespan "
                "to the app"
            )
        return self._servers

    @property
    def files(self) -> FileService:
        """The files of messages: those that people sent with them, and those that agents made."""
        artifacts = self.settings.artifacts
        store = artifacts.store if artifacts is not None else None
        return FileService(MessageFiles(self.settings.uploads, store, suspends=self.suspends))

    @property
    def idle(self) -> bool:
        """Whether no turn runs in this process, and none waits to run here."""
        return self._pool is None or self._pool.idle

    @property
    def artifacts(self) -> ArtifactStore | None:
        """See `JobHost.artifacts`."""
        return None if self.settings.artifacts is None else self.settings.artifacts.store

    @property
    def pending_lease(self) -> float:
        """See `Dispatcher.pending_lease`."""
        return self._dispatcher.pending_lease

    @property
    def _dispatcher(self) -> Dispatcher:
        found = self._given or self._pool
        if found is None:
            _ = self.servers
        return found  # type: ignore[return-value]  # a host that is started has a pool

    def _make_servers(self, make: type[C]) -> Servers[C]:
        clients = {name: make(**options) for name, options in self.settings.client_options().items()}
        return Servers(clients, chooser=self.settings.chooser(self.table.running))

    @abstractmethod
    def turn_for(self, message: Any, **options: Any) -> Turn | AsyncTurn:
        """The turn of a message, with all options from the settings.

        Args:
            message: A message of one of the tables, with a row.
            options: Options of `Turn`; they override those of `turn_options`.

        Raises:
            ConfigurationError: The message is of no table of this host, has no record, or the options cannot work.
        """

    def _session_options(self, message: Any) -> dict[str, Any]:
        return {**self.settings.session_options(), "store": self.table.of(message).record_store(message)}

    @abstractmethod
    def _make_turn(self, message: Any, options: Mapping[str, Any]) -> Turn | AsyncTurn:
        """The turn of a message, with these options."""

    def _given_options(self, message: Any) -> Mapping[str, Any]:
        return turn_options("turn_options", self.settings.turn_options, message)

    def _turn_options(
        self, message: Any, given: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        job = self.table.job_of(message)
        key = self.table.key_of(message)
        watched = LiveObserver(self.live, key)
        defaults: dict[str, Any] = {
            "on_ask": self.settings.on_ask,
            "store": self.table.store(job, message),
            "queue": RecordQueue(self.table, message, self, self._may_begin),
        }
        if self.settings.artifacts is not None:
            defaults["artifacts"] = self.settings.artifacts.of_turn(
                job, lambda error: self.report(error, "collect", str(job))
            )
        found: Mapping[str, Any] = with_uploads(
            {**defaults, **given, **options}, self.settings.uploads, message
        )
        teller = self._relay.teller(key)
        observers = (watched, teller, *self.settings.listeners(), *listeners_of(found.get("observer")))
        store = teller.store(found["store"])
        gate, limit = self.settings.limits(message, self.table.running, self.table.usage)
        if limit is not None:
            store = limit.store(store)
        return {**found, "store": store, "observer": observers, "gate": gate}

    async def prepare(self, message: Any, *, store: MessageStore, when_busy: WhenBusy) -> PreparedTurn:
        """See `JobHost.prepare`."""
        given = self._given_options(message)
        busy = given.get("when_busy", when_busy)
        # If a job's task is cancelled, its worker ends, not the turn.
        options = {"store": store, "when_busy": busy, "on_cancel": given.get("on_cancel", "release")}
        turn = self._make_turn(message, self._turn_options(message, given, options))
        deadlines = given.get("deadlines") or Deadlines()
        announce = partial(self._show_end, message)
        steering = self._relay.steering(self.table.key_of(message), turn.row_written)
        return PreparedTurn(turn, busy, deadlines, announce, steering)

    async def count(self) -> None:
        """See `JobHost.count`."""
        if (telemetry := self.settings.active_telemetry) is not None:
            telemetry.count(await self.table.counts())
            telemetry.count_servers(await self._count_servers(await self.table.running()))

    @abstractmethod
    async def _count_servers(self, running: Mapping[str | None, int]) -> list[ServerCount]:
        """How each server does."""

    def announce(self, message: Any, turn: TurnFound, result: TurnResult) -> None:
        """See `JobHost.announce`."""
        self._show_end(message)
        drop(turn, result, self.settings.listeners(), self.report)

    async def hand_on(self, message: Any) -> None:
        """See `JobHost.hand_on`."""
        queue = RecordQueue(self.table, message, self, self._may_begin)
        await queue.put_next()
        await leave_places(*self._gate(message), queue)

    async def _may_begin(self, message: Any) -> bool:
        return await may_begin(partial(self._gate, message), str(self.table.job_of(message)))

    def _gate(self, message: Any) -> tuple[Gate | None, Placement]:
        gate, _ = self.settings.limits(message, self.table.running, self.table.usage)
        return gate, Placement(self.table.of(message).record_store(message))

    def _show_end(self, message: Any, _result: TurnResult | None = None) -> None:
        key = self.table.key_of(message)
        self.live.finished(key)
        self._relay.tell(key, RowWritten())

    def report(self, error: Exception, action: str, key: str) -> None:
        """See `JobHost.report`."""
        ErrorReporter(self.settings.on_error)(error, ErrorContext(action, key))

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`. An error is reported, and the turn released to others."""
        try:
            self._dispatcher.dispatch(job)
        except Exception as error:  # noqa: BLE001 - the row is committed, and recovery finds it
            self.report(error, "enqueue", str(job))
            self._release(job)

    @abstractmethod
    def _release(self, job: TurnJob) -> None:
        """Release a turn, so that others can run it."""

    async def _leave(self, job: TurnJob) -> None:
        self.resends.forget(job)
        try:
            await self.table.release([job])
        except Exception as error:  # noqa: BLE001 - its lease then expires by itself
            self.report(error, "release", str(job))

    async def _enqueue(self, message: Any) -> None:
        _ = self.servers  # refuses a host that is not started, before anything is stored
        await self.table.reserve(message, self.pending_lease)
        job, queue = self.table.job_of(message), self._dispatcher
        if isinstance(queue, TransactionalDispatcher) and queue.transactional:
            await self.table.of(message).within(message, partial(queue.insert, job))
        else:
            self.table.after_commit(message, partial(self.dispatch, job))

    async def _cancel(self, message: Any, by: str) -> bool:
        cancelled: bool = await result_of(self.turn_for(message).cancel(by=by))
        if cancelled:
            self.live.finished(self.table.key_of(message))
        return cancelled

    async def _answer(self, message: Any, answer: Answer, ask_id: str) -> None:
        shown = await self._asked(message, ask_id)
        check_answer(answer.reply, answer.labels, shown, allow_always=self.settings.allow_always)
        answered: Awaitable[None] | None = self.turn_for(message).answer(ask_id, answer)
        await result_of(answered)
        self.live.row_changed(self.table.key_of(message), eagerly=True)

    async def _asked(self, message: Any, ask_id: str) -> ShownAsk:
        job = self.table.job_of(message)
        row = await self.table.store(job, message).load()
        for ask in row.asks:
            if ask.get("id") == ask_id:
                return display_ask(ask, row.parts, whole=True)
        raise AskAnsweredError(f"{job} waits for no answer to {ask_id}", ask_id=ask_id)

    async def _retry(self, message: Any) -> Any:
        table = self.table.of(message)
        found = await table.retry(message, self.settings.retry, self.pending_lease)
        if found is None:
            state = await self.table.store(table.job_of(message), message).load()
            raise not_again(state.status)
        again, made = found
        if made:
            self.dispatch(table.job_of(again))
        return again
