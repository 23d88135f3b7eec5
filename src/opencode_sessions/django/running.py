"""Turns that run beside the request: `enqueue(message)`, once its transaction is committed."""

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
from django.db import connections, models, transaction

from opencode_sessions.django.conf import OpencodeSettings, settings
from opencode_sessions.django.jobs import Job, give_up, undertake
from opencode_sessions.django.runners import InlineRunner, Runner, TasksRunner
from opencode_sessions.django.sessions import aprepared_turn, prepared_turn
from opencode_sessions.django.terminating import chain
from opencode_sessions.django.threads import LEAVING, ThreadRunner
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.turns.results import TurnResult

__all__ = ["acancel", "aenqueue", "cancel", "enqueue", "leave", "runner", "start", "submit", "use"]

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
    job = Job.of(message)
    undertake(job, runner().promise)
    transaction.on_commit(partial(submit, job), using=job.using)


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
    """Take up, in this process, what others left behind. The first request does it, where a process serves.

    Call it where a process is to do so before that: in a server's hook that is called after a fork, say. It does
    nothing twice, and nothing where the runner is not `threads`. In the main thread it also sees to it that streams
    end when the process is told to end.
    """
    chain()
    found = runner()
    if isinstance(found, ThreadRunner):
        found.start()


def leave() -> None:
    """Leave the turns of this process to others, as it is told to end. It takes 5 s at most, and never raises.

    It is called by a signal handler: what that interrupts may hold a lock, or a transaction, that is in the way. So it
    is done in a thread of its own, which goes on when that goes on.
    """
    found = _held.runner
    if isinstance(found, ThreadRunner):
        leaving = threading.Thread(target=_stop, args=[found], name="opencode-sessions end", daemon=True)
        try:
            leaving.start()
        except RuntimeError:
            return  # no thread can be started: the leases run out by themselves
        leaving.join(LEAVING)


def runner() -> Runner:
    """The runner of the settings, one in a process.

    Raises:
        ImproperlyConfigured: There is no such runner.
    """
    now = settings()
    with _held.lock:
        if _held.runner is None or _held.made_from is not now:
            outdated, _held.runner = _held.runner, _make(now)
            _held.made_from = now
            if isinstance(outdated, ThreadRunner):
                outdated.stop()
        return _held.runner


def use(found: Runner) -> None:
    """Let this process hand its turns to a runner of its own, whatever the settings say."""
    with _held.lock:
        _held.runner, _held.made_from = found, settings()


def start_with_requests(**_: Any) -> None:
    """Receives `request_started`: this process serves. Cheap, and never raises."""
    if _held.serving or hasattr(mail, "outbox"):  # which Django's tests have: they are not to find threads
        return
    _held.serving = True
    try:
        if settings().recover_at_start:
            start()
    except ImproperlyConfigured as error:
        _log.error("turns that were left behind are not taken up: %s", error)
    except RuntimeError as error:  # no thread can be started: the next request tries again
        _held.serving = False
        _log.warning("turns that were left behind are not taken up yet: %s", error)


@dataclass(slots=True)
class _Held:
    """What there is in this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runner: Runner | None = None
    made_from: OpencodeSettings | None = None
    serving: bool = False


_held = _Held()


def submit(job: Job) -> None:
    """Hand a turn that is committed to the runner. An error is reported, and the turn is left to others."""
    try:
        runner().submit(job)
    except Exception as error:  # noqa: BLE001 - it is committed: the row is there for whoever looks
        give_up([job])
        ErrorReporter(settings().on_error)(error, ErrorContext("enqueue", str(job)))


def _make(now: OpencodeSettings) -> Runner:
    match now.runner:
        case "threads":
            return ThreadRunner(now.threads, recover=now.recover_at_start and not hasattr(mail, "outbox"))
        case "tasks":
            return TasksRunner()
        case "inline":
            return InlineRunner()
    try:
        made: Runner = now.runner()
    except ImproperlyConfigured:
        raise
    except Exception as error:
        raise ImproperlyConfigured(
            f'OPENCODE["RUNNER"] must be a class, or a function, that makes a runner without an argument; '
            f"{now.runner!r} raised {type(error).__name__}: {error}"
        ) from error
    if not hasattr(made, "submit") or not hasattr(made, "promise"):
        raise ImproperlyConfigured(
            f'OPENCODE["RUNNER"] makes {made!r}, which is no opencode_sessions.django.runners.Runner'
        )
    return made


def _after_fork() -> None:
    """A child has none of the threads, and none of the turns."""
    global _held  # noqa: PLW0603 - all of it at once
    _held = _Held()


def _stop(found: ThreadRunner) -> None:
    try:
        found.stop()
    finally:
        connections.close_all()


def _at_exit() -> None:
    if isinstance(_held.runner, ThreadRunner):
        _held.runner.stop()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
