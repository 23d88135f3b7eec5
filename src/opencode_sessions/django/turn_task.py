"""A turn as a task of Django's (6.0). Imported by `TasksDispatcher`, and by the workers that run it.

Its name is not `tasks`, because Celery and others import every app's module with that name, and this one needs Django
6.0.
"""

from __future__ import annotations

from django.tasks import task

from opencode_sessions.django.host import run_job
from opencode_sessions.store.turn_table import TurnJob

__all__ = ["run_turn"]


@task
def run_turn(**fields: str) -> None:
    """See `run_job`."""
    run_job(TurnJob.from_fields(fields))
