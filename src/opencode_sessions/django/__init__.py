"""The Django app: stores for rows, abstract models, and turns that run in the background.

    from opencode_sessions.django.models import MessageModel, RecordModel

    class Conversation(RecordModel):
        title = models.CharField(max_length=200)

    class Message(MessageModel):
        conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE)

and in a view::

    enqueue(conversation.message_set.create(prompt=…))

Import the models only from `opencode_sessions.django.models`: this package is in `INSTALLED_APPS`, which Django imports
before any model.

No transaction and no lock is open during a network call. The connection that Django keeps for each thread stays open
and idle, as always between two queries.
"""

from __future__ import annotations

from opencode_sessions.django.clients import async_client, async_servers, client, servers
from opencode_sessions.django.deletion import delete_session_with_row
from opencode_sessions.django.host import acancel, aenqueue, cancel, enqueue, run_job
from opencode_sessions.django.index import DjangoIndex
from opencode_sessions.django.leases import TurnQuerySet, abandoned, being_run, parked, waiting_for_answer
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.records import DjangoRecordStore
from opencode_sessions.django.sessions import asession_for, aturn_for, session_for, turn_for
from opencode_sessions.django.uploads import save_uploads
from opencode_sessions.store.turn_table import TurnJob

__all__ = [
    "DjangoIndex",
    "DjangoMessageStore",
    "DjangoRecordStore",
    "TurnJob",
    "TurnQuerySet",
    "abandoned",
    "acancel",
    "aenqueue",
    "asession_for",
    "async_client",
    "async_servers",
    "aturn_for",
    "being_run",
    "cancel",
    "client",
    "delete_session_with_row",
    "enqueue",
    "parked",
    "run_job",
    "save_uploads",
    "servers",
    "session_for",
    "turn_for",
    "waiting_for_answer",
]
