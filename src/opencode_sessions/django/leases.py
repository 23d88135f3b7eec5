"""Which turns run, wait, or were left behind: conditions for a query of the host's own.

A lease says until when somebody is taken to be alive who has the turn: of a streaming one its runner, of a pending
one whoever undertook to run it (see `enqueue`). A pending turn without a lease is nobody's: it was never enqueued.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from opencode_sessions.store.messages import TurnStatus

__all__ = ["TurnQuerySet", "abandoned", "being_run", "waiting_for_answer"]

_PENDING = Q(status=TurnStatus.PENDING.value)
_STREAMING = Q(status=TurnStatus.STREAMING.value)


def abandoned() -> Q:
    """Of messages, those whose turn nobody runs, or is going to run, any more: the lease has run out.

    ::

        for message in Message.objects.filter(abandoned()): …
    """
    run_out = Q(opencode_turn_lease__lte=timezone.now())
    return _STREAMING & (run_out | Q(opencode_turn_lease=None)) | _PENDING & run_out


def being_run() -> Q:
    """Of messages, those whose turn somebody runs now."""
    return _STREAMING & Q(opencode_turn_lease__gt=timezone.now())


def waiting_for_answer() -> Q:
    """Of messages, those whose agent waits for a person."""
    return _STREAMING & ~Q(asks=[])


class TurnQuerySet(models.QuerySet[models.Model]):
    """A queryset with these conditions, for a manager of the host's own.

    ::

        class Message(MessageModel):
            objects = TurnQuerySet.as_manager()
    """

    def abandoned(self) -> TurnQuerySet:
        """See `abandoned`."""
        return self.filter(abandoned())

    def running(self) -> TurnQuerySet:
        """See `being_run`."""
        return self.filter(being_run())

    def waiting_for_answer(self) -> TurnQuerySet:
        """See `waiting_for_answer`."""
        return self.filter(waiting_for_answer())
