"""Which turns run, wait, or were left behind: conditions for a query of the host's own.

A lease says until when a turn counts as held, by the database's clock. A streaming turn is held by its runner, a
pending one by the queue that is going to run it (see `enqueue`). A pending turn without a lease is not held: it was
never enqueued, or it is parked and waits for another turn. A turn that is parked and has a lease waits, at most until
that expires: a streaming one for a person, a pending one until as many turns as may run do not run any more. After an
answer, the lease says how long the next run may take to begin.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from opencode_sessions.django.clock import Moment
from opencode_sessions.store.messages import TurnStatus

__all__ = [
    "TurnQuerySet",
    "abandoned",
    "behind_another",
    "being_run",
    "parked",
    "waiting_for_answer",
    "waiting_for_place",
]

_PENDING = Q(status=TurnStatus.PENDING.value)
_STREAMING = Q(status=TurnStatus.STREAMING.value)


def abandoned() -> Q:
    """The condition that a message's turn is abandoned: its lease has expired.

    ::

        for message in Message.objects.filter(abandoned()): …
    """
    run_out = Q(opencode_turn_lease__lte=Moment())
    return _STREAMING & (run_out | Q(opencode_turn_lease=None)) | _PENDING & run_out


def being_run() -> Q:
    """The condition that a message's turn runs now."""
    return _STREAMING & Q(opencode_turn_lease__gt=Moment(), opencode_turn_parked=False)


def parked() -> Q:
    """Of messages, those whose turn waits for a person, another turn of its record, or a place under a limit."""
    waits = Q(opencode_turn_lease__gt=Moment(), opencode_turn_parked=True)
    return (_STREAMING | _PENDING) & waits | behind_another()


def behind_another() -> Q:
    """The condition that a turn is parked behind another turn of its record: it has not begun."""
    return _PENDING & Q(opencode_turn_lease=None, opencode_turn_order__gt=0)


def waiting_for_place() -> Q:
    """Of the parked ones, those that have not begun because as many turns run as may."""
    return _PENDING & Q(opencode_turn_parked=True)


def waiting_for_answer() -> Q:
    """The condition that the agent of a message's turn waits for a person."""
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

    def parked(self) -> TurnQuerySet:
        """See `parked`."""
        return self.filter(parked())

    def waiting_for_answer(self) -> TurnQuerySet:
        """See `waiting_for_answer`."""
        return self.filter(waiting_for_answer())
