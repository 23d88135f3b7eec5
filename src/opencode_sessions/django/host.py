"""Turns that run in the background: `enqueue(message)` runs the turn after the commit."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections, models

from opencode_sessions.django.clients import leave_open
from opencode_sessions.django.conf import OpencodeSettings, settings
from opencode_sessions.django.connections import borrowed
from opencode_sessions.django.registry import record_of
from opencode_sessions.django.relay import relay
from opencode_sessions.django.rows import database_of
from opencode_sessions.django.sessions import aprepared_turn, prepared_turn, session_for
from opencode_sessions.django.signals import Announcing
from opencode_sessions.django.tasks_dispatcher import TasksDispatcher
from opencode_sessions.django.turn_rows import rows
from opencode_sessions.django.turn_table import table
from opencode_sessions.files.ports import ArtifactStore
from opencode_sessions.host.server_counts import count_servers
from opencode_sessions.jobs import dispatch
from opencode_sessions.jobs.ports import Dispatcher, PreparedTurn, QueueDispatcher
from opencode_sessions.jobs.queue import RecordQueue
from opencode_sessions.jobs.resends import Resends
from opencode_sessions.jobs.thread_pool import SHUTDOWN_TIMEOUT, ThreadPool
from opencode_sessions.live.notes import RowWritten
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.runtime.shutdown import install_handlers
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sessions.servers import Placement
from opencode_sessions.store.messages import PENDING_LEASE, MessageStore
from opencode_sessions.store.turn_table import TurnJob, TurnTable
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.events import TurnFound
from opencode_sessions.turns.gate import Gate, leave_places, may_begin
from opencode_sessions.turns.observers import drop
from opencode_sessions.turns.results import TurnResult

__all__ = [
    "acancel",
    "aenqueue",
    "cancel",
    "dispatcher",
    "enqueue",
    "host",
    "run_job",
    "shutdown",
    "start",
    "use",
]

_log = logging.getLogger("opencode_sessions.django")


def enqueue(message: models.Model) -> None:
    """Run a message's turn in the background, with the runner of the settings, after the open transaction's commit.

    The same transaction stores in the row that the turn must run. So if this process dies, another one finds the turn.
    Repeated calls for one message run one turn. Without an open transaction the turn starts at once.

    Args:
        message: A saved message; the open transaction may have saved it.

    Raises:
        RecordNotSavedError: The message has no row yet.
        ConfigurationError: It has no record.
        ImproperlyConfigured: The settings cannot work.
    """
    job = table.job_of(message)
    run_sync(table.reserve(message, host.pending_lease))
    table.after_commit(message, partial(host.dispatch, job))


async def aenqueue(message: models.Model) -> None:
    """The same for asyncio."""
    await sync_to_async(enqueue)(message)


def cancel(message: models.Model, *, by: str) -> bool:
    """Cancel a message's turn, in whatever process it runs, and send `turn_finished`; see `Turn.cancel`.

    Raises:
        OpenTransactionError: A transaction is open around the call.
    """
    turn, announcing, _ = prepared_turn(message)
    cancelled = turn.cancel(by=by)
    if cancelled:
        row = run_sync(message.__opencode_store__(asynchronous=False).load())  # type: ignore[attr-defined]  # MessageModel
        announcing.end(TurnResult.of(row))
    return cancelled


async def acancel(message: models.Model, *, by: str) -> bool:
    """See `cancel`; for asyncio. The signal is sent in the thread of Django's sync code, so receivers may query."""
    turn, announcing = await aprepared_turn(message)
    cancelled = await turn.cancel(by=by)
    if cancelled:
        row = await message.__opencode_store__(asynchronous=True).load()  # type: ignore[attr-defined]  # MessageModel
        await sync_to_async(announcing.end)(TurnResult.of(row))
    return cancelled


def start() -> None:
    """Start the recovery of abandoned turns in this process. In a process that serves, the first request does it.

    Call it if a process should recover turns before that, for example in a server's hook after a fork. A second call
    does nothing, and so does a call with another runner than `threads`. In the main thread it also installs the signal
    handlers that end streams.
    """
    install_handlers()
    found = dispatcher()
    if isinstance(found, ThreadPool):
        found.start()


def shutdown() -> None:
    """Release the turns of this process, because it is about to end. It takes at most 5 s, and never raises.

    A signal handler calls it, and may have interrupted code that holds a lock or a transaction. So the work is done in
    a thread of its own.
    """
    found = _held.dispatcher
    if isinstance(found, ThreadPool):
        stopping = threading.Thread(target=_stop, args=[found], name="opencode-sessions end", daemon=True)
        try:
            stopping.start()
        except RuntimeError:
            return  # no thread can be started; the leases expire by themselves
        stopping.join(SHUTDOWN_TIMEOUT)


def dispatcher() -> Dispatcher:
    """The dispatcher of `OPENCODE["RUNNER"]`; one in a process.

    Raises:
        ImproperlyConfigured: There is no such dispatcher.
    """
    now = settings()
    with _held.lock:
        if _held.dispatcher is None or _held.made_from is not now:
            outdated, _held.dispatcher = _held.dispatcher, _make(now)
            _held.made_from = now
            if isinstance(outdated, ThreadPool):
                outdated.stop()
        return _held.dispatcher


def use(found: Dispatcher) -> None:
    """Use another dispatcher in this process than the settings name."""
    with _held.lock:
        _held.dispatcher, _held.made_from = found, settings()


def start_with_requests(**_: Any) -> None:
    """Receive `request_started`: this process serves. It is cheap, and never raises."""
    if _held.serving or hasattr(mail, "outbox"):  # Django's tests have an outbox, and must not get threads
        return
    _held.serving = True
    try:
        if settings().recover:
            start()
    except ImproperlyConfigured as error:
        _log.error("abandoned turns are not recovered: %s", error)
    except RuntimeError as error:  # no thread can be started; the next request tries again
        _held.serving = False
        _log.warning("abandoned turns are not recovered yet: %s", error)


@dataclass(slots=True)
class _Held:
    """The state of this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    dispatcher: Dispatcher | None = None
    made_from: OpencodeSettings | None = None
    serving: bool = False


_held = _Held()


class _Host:
    """The host of this process, made from the settings: a `JobHost` and a `Dispatcher`."""

    table: TurnTable = table

    def __init__(self) -> None:
        self.resends = Resends()

    @property
    def pending_lease(self) -> float:
        """See `Dispatcher.pending_lease`. It is read at the end of every turn, so it must not create a pool."""
        now = settings()
        if now.runner in ("threads", "inline") and _held.made_from is not now:
            return PENDING_LEASE
        return dispatcher().pending_lease

    @property
    def artifacts(self) -> ArtifactStore | None:
        """See `JobHost.artifacts`."""
        found = settings().artifacts
        return None if found is None else found.store

    async def ready(self) -> None:
        """See `JobHost.ready`. It needs only the settings."""

    def dispatch(self, job: TurnJob) -> None:
        """Dispatch a committed turn. After an error, which is reported, the turn is released to others."""
        try:
            dispatcher().dispatch(job)
        except Exception as error:  # noqa: BLE001 - the row is committed, and recovery finds it
            self.report(error, "enqueue", str(job))
            self.resends.forget(job)
            try:
                run_sync(table.release([job]))
            except DatabaseError as second:  # its reservation then expires by itself
                self.report(second, "release", str(job))

    async def prepare(
        self, message: models.Model, *, store: MessageStore, when_busy: WhenBusy
    ) -> PreparedTurn:
        """See `JobHost.prepare`."""
        defaults = {"when_busy": when_busy, "store": store, "on_cancel": "release"}
        with borrowed(database_of(message)):
            turn, announcing, options = prepared_turn(message, defaults=defaults)
        deadlines = options.get("deadlines") or Deadlines()
        steering = relay().steering(rows.key_of(message), turn.row_written)
        return PreparedTurn(turn, options["when_busy"], deadlines, announcing.end, steering)

    async def count(self) -> None:
        """See `JobHost.count`."""
        if (telemetry := settings().active_telemetry) is not None:
            telemetry.count(await table.counts())
            telemetry.count_servers(count_servers(settings(), await table.running()))

    def announce(self, message: models.Model, turn: TurnFound, result: TurnResult) -> None:
        """See `JobHost.announce`."""
        Announcing(message).end(result)
        drop(turn, result, settings().listeners(), self.report)
        relay().tell(rows.key_of(message), RowWritten())

    async def hand_on(self, message: models.Model) -> None:
        """See `JobHost.hand_on`."""
        queue = RecordQueue(table, message, self, self.may_begin)
        await queue.put_next()
        await leave_places(*_gate(message), queue)

    async def may_begin(self, message: models.Model) -> bool:
        """Whether no limit keeps the turn of a message waiting."""
        return await may_begin(lambda: _gate(message), str(table.job_of(message)))

    def report(self, error: Exception, action: str, key: str) -> None:
        """See `JobHost.report`."""
        ErrorReporter(settings().on_error)(error, ErrorContext(action, key))


def _gate(message: models.Model) -> tuple[Gate | None, Placement]:
    gate, _ = settings().limits(message, table.running, table.usage)
    with borrowed(database_of(message)):
        return gate, Placement(session_for(record_of(message)).lifecycle.store)


host = _Host()


def run_job(job: TurnJob, *, patience: float | None = None) -> TurnResult | None:
    """Run a turn to its end in this thread; see `opencode_sessions.jobs.dispatch.run_job`."""
    return dispatch.run_job(host, job, patience=patience)


def thread_pool(threads: int, **options: Any) -> ThreadPool:
    """A pool of threads for this process, made from the settings. The options are those of `ThreadPool`."""
    return ThreadPool(host, threads, stopping=leave_open, **options)


def _make(now: OpencodeSettings) -> Dispatcher:
    match now.runner:
        case "threads":
            return thread_pool(now.turns, recover=now.recover and not hasattr(mail, "outbox"))
        case "tasks":
            return TasksDispatcher()
        case "inline":
            return dispatch.InlineDispatcher(host)
    if not isinstance(now.runner, type) and isinstance(now.runner, QueueDispatcher):
        return now.runner
    try:
        made: Dispatcher = now.runner()
    except ImproperlyConfigured:
        raise
    except Exception as error:
        raise ImproperlyConfigured(
            f'OPENCODE["RUNNER"] must be a class, or a function, that makes a dispatcher without an argument; '
            f"{now.runner!r} raised {type(error).__name__}: {error}"
        ) from error
    if not hasattr(made, "dispatch") or not hasattr(made, "pending_lease"):
        raise ImproperlyConfigured(
            f'OPENCODE["RUNNER"] makes {made!r}, which has no dispatch(job) and no pending_lease: see '
            "opencode_sessions.jobs.ports.Dispatcher"
        )
    return made


def _after_fork() -> None:
    """Reset the state in a forked child, which has none of the threads and turns."""
    global _held  # noqa: PLW0603 - all of it at once
    _held = _Held()


def _stop(found: ThreadPool) -> None:
    try:
        found.stop()
    finally:
        connections.close_all()


def _at_exit() -> None:
    if isinstance(_held.dispatcher, ThreadPool):
        _held.dispatcher.stop()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
