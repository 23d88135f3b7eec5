"""`TasksDispatcher`: turns as tasks of Django's (6.0)."""

from __future__ import annotations

import django
from django.core.exceptions import ImproperlyConfigured

from opencode_sessions.store.turn_table import TurnJob

__all__ = ["TasksDispatcher"]


class TasksDispatcher:
    """A `Dispatcher` that hands turns to Django's tasks, and so to whatever backend `TASKS` names.

    The queue is taken to be as durable as the database: a turn that has not begun is believed in for an hour.

    Raises:
        ImproperlyConfigured: There are no tasks in this Django.
    """

    pending_lease: float = 3600.0

    def __init__(self) -> None:
        try:
            from opencode_sessions.django.turn_task import run_turn  # noqa: PLC0415 - there is none in Django 5.2
        except ImportError as error:
            raise ImproperlyConfigured(
                f'OPENCODE["RUNNER"] is "tasks", but Django {django.get_version()} has no django.tasks: '
                'use Django 6.0 or newer, or "threads"'
            ) from error
        self._task = run_turn

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`."""
        self._task.enqueue(**job.to_fields())
