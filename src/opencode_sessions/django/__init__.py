"""The stores for Django rows, and the abstract models that give a model its columns.

The models are in `opencode_sessions.django.models`, and are imported from there only: this package may stand in
`INSTALLED_APPS`, which Django imports before any model may be.

    from opencode_sessions.django.models import RecordModel

    class Conversation(RecordModel):
        title = models.CharField(max_length=200)

No transaction and no lock is open while the network is awaited. The connection that Django keeps for each thread
stays open then, as always between two queries, and is idle.
"""

from __future__ import annotations

from opencode_sessions.django.deletion import delete_session_with_row
from opencode_sessions.django.index import DjangoIndex
from opencode_sessions.django.leases import abandoned
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.records import DjangoRecordStore

__all__ = ["DjangoIndex", "DjangoMessageStore", "DjangoRecordStore", "abandoned", "delete_session_with_row"]
