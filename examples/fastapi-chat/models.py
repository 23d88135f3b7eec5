"""The chat's two tables, and those of the files that agents make."""

from __future__ import annotations

import os

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from opencode_sessions.files.ports import FolderLayout
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin
from opencode_sessions.sqlalchemy.artifacts import ArtifactTables

# A folder in no Git worktree, on the server's machine: each chat has a directory in it, and its files are kept.
SANDBOX = (
    Sandbox(os.environ["CHAT_SANDBOX"], layout=FolderLayout.OWN) if "CHAT_SANDBOX" in os.environ else None
)


class Base(DeclarativeBase):
    """All tables."""


FILE_TABLES = ArtifactTables.add_to(Base.metadata)


class Conversation(RecordMixin, Base):
    """What an agent's session belongs to."""

    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    title: Mapped[str] = mapped_column(default="A new chat")

    @property
    def opencode_directory(self) -> str | None:
        """Where its agent works; None: where the server does."""
        return SANDBOX.directory(self) if SANDBOX else None


class Message(MessageMixin, Base):
    """A prompt and its answer."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
