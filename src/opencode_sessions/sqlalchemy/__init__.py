"""The stores for SQLAlchemy rows, and the mixins that give a model its columns.

    class Conversation(RecordMixin, Base):
        __tablename__ = "conversations"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

Such a row has a store of its own, over the ORM session to which it is attached. For a detached row, or a model without
the mixin, pass a store: `store=SQLAlchemyRecordStore(Conversation, primary_key, engine)`.
"""

from __future__ import annotations

from opencode_sessions.sqlalchemy.artifact_deletion import delete_artifacts_with_row
from opencode_sessions.sqlalchemy.artifacts import ArtifactTables, SQLAlchemyArtifactStore
from opencode_sessions.sqlalchemy.deletion import delete_session_with_row
from opencode_sessions.sqlalchemy.index import SQLAlchemyIndex
from opencode_sessions.sqlalchemy.leases import (
    abandoned,
    being_run,
    parked,
    set_pending_lease,
    waiting_for_answer,
)
from opencode_sessions.sqlalchemy.messages import SQLAlchemyMessageStore
from opencode_sessions.sqlalchemy.mixins import MessageMixin, RecordMixin
from opencode_sessions.sqlalchemy.record_of import record_store_of
from opencode_sessions.sqlalchemy.records import SQLAlchemyRecordStore
from opencode_sessions.sqlalchemy.turn_table import SQLAlchemyTurnTable
from opencode_sessions.sqlalchemy.uploads import delete_uploads_with_row

__all__ = [
    "ArtifactTables",
    "MessageMixin",
    "RecordMixin",
    "SQLAlchemyArtifactStore",
    "SQLAlchemyIndex",
    "SQLAlchemyMessageStore",
    "SQLAlchemyRecordStore",
    "SQLAlchemyTurnTable",
    "abandoned",
    "being_run",
    "delete_artifacts_with_row",
    "delete_session_with_row",
    "delete_uploads_with_row",
    "parked",
    "record_store_of",
    "set_pending_lease",
    "waiting_for_answer",
]
