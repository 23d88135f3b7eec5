"""Which turns their runners left behind, for a query of the host's own."""

from __future__ import annotations

from django.db.models import Q
from django.utils import timezone

from opencode_sessions.store.messages import TurnStatus

__all__ = ["abandoned"]


def abandoned() -> Q:
    """Of messages, those whose turn nobody runs any more: streaming, and the lease has run out.

    ::

        for message in Message.objects.filter(abandoned()): …
    """
    run_out = Q(opencode_turn_lease=None) | Q(opencode_turn_lease__lte=timezone.now())
    return Q(status=TurnStatus.STREAMING.value) & run_out
