"""Who runs the turns that are enqueued. The result is the same, whoever does: that is the turn's promise.

Any object with `submit` and `promise` will do: name its class in `OPENCODE["RUNNER"]`. It hands the job to wherever
it wants it run, and there `run_job(job)` runs it.
"""

from __future__ import annotations

import time
from dataclasses import astuple
from typing import Protocol

import django
from django.core.exceptions import ImproperlyConfigured

from opencode_sessions.django.efforts import PROMISE, Effort
from opencode_sessions.django.jobs import Job
from opencode_sessions.turns.results import TurnResult

__all__ = ["InlineRunner", "Runner", "TasksRunner", "run_job"]


class Runner(Protocol):
    """What `enqueue` needs.

    Attributes:
        promise: For how many seconds after `submit` a turn that has not begun is to be believed in; then it counts
            as abandoned. It may be run from elsewhere after that, and would still be run once.
    """

    promise: float

    def submit(self, job: Job) -> None:
        """See to it that `run_job(job)` is called, soon and somewhere. Called after the commit."""


def run_job(job: Job, *, patience: float | None = None) -> TurnResult | None:
    """Run a turn to its end, here and now. It may be called again, or at once in several places.

    What comes before it in its record, and nobody runs, is run first. It does not wait for a person, nor for another
    turn of its record: what waits is parked, and comes as a job of its own when it may go on. What keeps it from
    running is not raised: the message's row says how it ended.

    Args:
        job: Which.
        patience: For how many seconds a server that is away is waited for; by default as the turn's
            `Deadlines.unreachable` says.

    Returns:
        How it ended; None where somebody else runs it, it is parked, or its row is gone.
    """
    efforts: list[Effort] = []
    first: Job | None = job
    while True:
        if first is not None:
            efforts.append(Effort(first, when_busy="wait", patience=patience))
        pause = efforts[-1].attempt()
        first = efforts[-1].first
        if pause is not None:
            time.sleep(pause)
        elif len(efforts) == 1:
            return efforts[0].result
        else:
            efforts.pop()


class InlineRunner:
    """Runs a turn in the thread that enqueued it, before `enqueue` (or the commit) returns: for tests."""

    promise: float = PROMISE

    def submit(self, job: Job) -> None:
        """See `Runner.submit`."""
        run_job(job, patience=0)


class TasksRunner:
    """Hands turns to Django's tasks (6.0), and so to whatever backend `TASKS` names.

    The queue is taken to be as durable as the database: a turn that has not begun is believed in for an hour.

    Raises:
        ImproperlyConfigured: There are no tasks in this Django.
    """

    promise: float = 3600.0

    def __init__(self) -> None:
        try:
            from opencode_sessions.django.turn_task import run_turn  # noqa: PLC0415 - there is none in Django 5.2
        except ImportError as error:
            raise ImproperlyConfigured(
                f'OPENCODE["RUNNER"] is "tasks", but Django {django.get_version()} has no django.tasks: '
                'use Django 6.0 or newer, or "threads"'
            ) from error
        self._task = run_turn

    def submit(self, job: Job) -> None:
        """See `Runner.submit`."""
        self._task.enqueue(*astuple(job))
