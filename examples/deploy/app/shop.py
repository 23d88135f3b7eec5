"""What web processes and workers share: the rows, what is said of agents, and the host.

python shop.py     # makes the tables
"""

from __future__ import annotations

import asyncio
import os

from procrastinate import App, PsycopgConnector
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from opencode_sessions import READ_ONLY
from opencode_sessions.host import AsyncHost, HostSettings, Server
from opencode_sessions.live.notifiers import PostgresNotifier
from opencode_sessions.queues.procrastinate import ProcrastinateDispatcher
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin, SQLAlchemyTurnTable

DATABASE_URL = os.environ["DATABASE_URL"]  # postgresql+psycopg://shop@database/shop
_PLAIN_URL = DATABASE_URL.replace("+psycopg", "")


class Base(DeclarativeBase):
    """Of the tables."""


class Conversation(RecordMixin, Base):
    """A chat of somebody's."""

    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    title: Mapped[str] = mapped_column(default="A chat")


class Message(MessageMixin, Base):
    """A prompt and its answer."""

    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"), index=True)


def servers() -> dict[str, Server]:
    """Those of the environment, such as `a=http://opencode-a:4096 b=http://opencode-b:4096`."""
    named = (each.partition("=") for each in os.environ["OPENCODE_SERVERS"].split())
    draining = os.environ.get("OPENCODE_DRAINING", "").split()
    return {name: Server(url=url, turns=20, draining=name in draining) for name, _, url in named}


engine = create_async_engine(DATABASE_URL)
sessions = async_sessionmaker(engine, expire_on_commit=False)
queue = App(connector=PsycopgConnector(conninfo=_PLAIN_URL))
opencode = AsyncHost(
    HostSettings(servers=servers(), namespace="shop", permissions_for=READ_ONLY),
    tables=[SQLAlchemyTurnTable(Message, sessions)],
    dispatcher=ProcrastinateDispatcher(queue, lambda: opencode, transactional=True),
    notifier=PostgresNotifier(_PLAIN_URL),
)


async def make_tables() -> None:
    """Your migrations do this."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(make_tables())
