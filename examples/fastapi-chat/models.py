"""The chat's two tables."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin


class Base(DeclarativeBase):
    """All tables."""


class Conversation(RecordMixin, Base):
    """What an agent's session belongs to."""

    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    title: Mapped[str] = mapped_column(default="A new chat")


class Message(MessageMixin, Base):
    """A prompt and its answer."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
