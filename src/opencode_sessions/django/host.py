"""Turns that run in the background: `enqueue(message)`, once its transaction is committed."""

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
from opencode_sessions.django.relay import relay
from opencode_sessions.django.rows import borrowed, database_of
from opencode_sessions.django.sessions import aprepared_turn, prepared_turn
from opencode_sessions.django.signals import Announcing
from opencode_sessions.django.tasks_dispatcher import TasksDispatcher
from opencode_sessions.django.turn_rows import rows
from opencode_sessions.django.turn_table import table
from opencode_sessions.files.ports import ArtifactStore
from opencode_sessions.host.server_counts import count_servers
from opencode_sessions.jobs import dispatch
from opencode_sessions.jobs.ports import Dispatcher, PreparedTurn, QueueDispatcher
from opencode_sessions.jobs.thread_pool import SHUTDOWN_TIMEOUT, ThreadPool
from opencode_sessions.live.notes import RowWritten
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.runtime.shutdown import install_handlers
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.messages import PENDING_LEASE, MessageStore
from opencode_sessions.store.turn_table import TurnJob, TurnTable
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.events import TurnFound
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
    """Have a message's turn run, by the runner of the settings, when the open transaction (if any) has committed.

    The row says at once, in the same transaction, that somebody undertook to run it: so if this process dies before
    it does, another one finds it. It may be called again for the same message: one turn is run.

    Args:
        message: Saved, perhaps only in the open transaction.

    Raises:
        RecordNotSavedError: It has no row yet.
        ConfigurationError: It belongs to no record.
        ImproperlyConfigured: The settings cannot work.
    """
    job = table.job_of(message)
    run_sync(table.reserve(message, host.pending_lease))
    table.after_commit(message, partial(host.dispatch, job))


async def aenqueue(message: models.Model) -> None:
    """The same for asyncio."""
    await sync_to_async(enqueue)(message)


def cancel(message: models.Model, *, by: str) -> bool:
    """End a message's turn, wherever it runs, and send `turn_finished`; see `Turn.cancel`.

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
    """The same for asyncio. The signal is sent where Django's sync code runs, so that its receivers may query."""
    turn, announcing = await aprepared_turn(message)
    cancelled = await turn.cancel(by=by)
    if cancelled:
        row = await message.__opencode_store__(asynchronous=True).load()  # type: ignore[attr-defined]  # MessageModel
        await sync_to_async(announcing.end)(TurnResult.of(row))
    return cancelled


def start() -> None:
    """Recover, in this process, the turns that others left behind. In a process that serves, the first request does it.

    Call it where a process is to do so before that: in a server's hook that is called after a fork, say. It does
    nothing twice, and nothing where the runner is not `threads`. In the main thread it also sees to it that streams
    end when the process is told to end.
    """
    install_handlers()
    found = dispatcher()
    if isinstance(found, ThreadPool):
        found.start()


def shutdown() -> None:
    """Release the turns of this process to others, as it is told to end. It takes 5 s at most, and never raises.

    It is called by a signal handler: what that interrupts may hold a lock, or a transaction, that is in the way. So it
    is done in a thread of its own, which goes on when that goes on.
    """
    found = _held.dispatcher
    if isinstance(found, ThreadPool):
        stopping = threading.Thread(target=_stop, args=[found], name="opencode-sessions end", daemon=True)
        try:
            stopping.start()
        except RuntimeError:
            return  # no thread can be started: the leases run out by themselves
        stopping.join(SHUTDOWN_TIMEOUT)


def dispatcher() -> Dispatcher:
    """The dispatcher that `OPENCODE["RUNNER"]` names, one in a process.

    Raises:
        ImproperlyConfigured: There is no such one.
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
    """Let this process hand its turns to a dispatcher of its own, whatever the settings say."""
    with _held.lock:
        _held.dispatcher, _held.made_from = found, settings()


def start_with_requests(**_: Any) -> None:
    """Receives `request_started`: this process serves. Cheap, and never raises."""
    if _held.serving or hasattr(mail, "outbox"):  # which Django's tests have: they are not to find threads
        return
    _held.serving = True
    try:
        if settings().recover:
            start()
    except ImproperlyConfigured as error:
        _log.error("abandoned turns are not recovered: %s", error)
    except RuntimeError as error:  # no thread can be started: the next request tries again
        _held.serving = False
        _log.warning("abandoned turns are not recovered yet: %s", error)


@dataclass(slots=True)
class _Held:
    """What there is in this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    dispatcher: Dispatcher | None = None
    made_from: OpencodeSettings | None = None
    serving: bool = False


_held = _Held()


class _Host:
    """What this process runs its turns with, as the settings say: a `JobHost` and a `Dispatcher`."""

    table: TurnTable = table

    @property
    def pending_lease(self) -> float:
        """See `Dispatcher.pending_lease`. Asked for at the end of every turn, so it makes no pool that nobody needs."""
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
        """See `JobHost.ready`. It needs nothing but the settings."""

    def dispatch(self, job: TurnJob) -> None:
        """Hand a turn that is committed to the dispatcher. An error is reported, and the turn released to others."""
        try:
            dispatcher().dispatch(job)
        except Exception as error:  # noqa: BLE001 - it is committed: the row is there for whoever looks
            self.report(error, "enqueue", str(job))
            try:
                run_sync(table.release([job]))
            except DatabaseError as second:  # its reservation then runs out by itself
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

    def report(self, error: Exception, action: str, key: str) -> None:
        """See `JobHost.report`."""
        ErrorReporter(settings().on_error)(error, ErrorContext(action, key))


host = _Host()


def run_job(job: TurnJob, *, patience: float | None = None) -> TurnResult | None:
    """Run a turn to its end, here and now, as the settings say; see `opencode_sessions.jobs.dispatch.run_job`."""
    return dispatch.run_job(host, job, patience=patience)


def thread_pool(threads: int, **options: Any) -> ThreadPool:
    """Threads that run turns of this process, as the settings say. Its options are those of `ThreadPool`."""
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
    """A child has none of the threads, and none of the turns."""
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
