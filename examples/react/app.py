"""Chats for two React pages: one speaks the protocol of the Vercel AI SDK, the other one AG-UI."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from opencode_sessions import ASK_FIRST, allow
from opencode_sessions.fastapi import AsyncHost, HostSettings, chat_router
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin, SQLAlchemyTurnTable

VISITOR = "visitor"
DIST = Path(os.environ.get("DIST", Path(__file__).parent / "dist"))


class Base(DeclarativeBase):
    """All tables."""


class Conversation(RecordMixin, Base):
    """What an agent's session belongs to: a chat of one visitor, by the name that the page gave it."""

    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    title: Mapped[str]


class Message(MessageMixin, Base):
    """A prompt and its answer."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"), index=True)


engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///react.sqlite3"))
sessions = async_sessionmaker(engine, expire_on_commit=False)
settings = HostSettings(permissions_for=[*ASK_FIRST, allow("question")])
opencode = AsyncHost(settings, tables=[SQLAlchemyTurnTable(Message, sessions)])


class Chats:
    """A visitor sees only chats of their own."""

    async def turns(self, visitor: str, chat: str, last: int | None) -> Sequence[Message]:
        """The messages of a chat; none of one that is new."""
        own = (Conversation.owner == visitor, Conversation.title == chat)
        newest_first = select(Message).join(Conversation).where(*own).order_by(Message.id.desc())
        async with sessions() as db:
            found = await db.scalars(newest_first.limit(last))
            return [*found][::-1]

    async def send(self, visitor: str, chat: str, prompt: str) -> Message:
        """Store a prompt; the first one makes the chat."""
        own = select(Conversation).where(Conversation.owner == visitor, Conversation.title == chat)
        async with sessions.begin() as db:
            if (found := await db.scalar(own)) is None:
                db.add(found := Conversation(owner=visitor, title=chat))
                await db.flush()
            db.add(message := Message(conversation_id=found.id, prompt=prompt))
            await opencode.enqueue(message)
        return message


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the tables, and run turns while the app serves."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with opencode.lifespan(app):
        yield


def visitor(request: Request) -> str:
    """Who asks: a random name in a cookie. Your own login goes here."""
    if not (found := request.cookies.get(VISITOR)):
        raise HTTPException(401, "Open the page first.")
    return found


app = FastAPI(title="React", lifespan=lifespan)
app.include_router(chat_router(opencode, Chats(), user=visitor, who=lambda _: "you"), prefix="/chats")
app.mount("/", StaticFiles(directory=DIST, check_dir=False))


@app.middleware("http")
async def name_visitor(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give who opens a page a name."""
    response = await call(request)
    if VISITOR not in request.cookies and request.url.path.endswith(".html"):
        response.set_cookie(VISITOR, secrets.token_urlsafe(), httponly=True, samesite="lax")
    return response
