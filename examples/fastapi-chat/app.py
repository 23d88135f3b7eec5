"""A chat: what is sent is answered by an agent, and every open page sees the answer as it is written.

opencode-sessions serve --offline     # in another terminal: a server with a scripted model; export what it prints
uvicorn app:app --port 8000
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from database import engine, sessions
from fastapi import Depends, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from files import ARTIFACTS, UPLOADS
from models import Base, Conversation, Message
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from opencode_sessions import READ_WRITE, allow, ask, deny
from opencode_sessions.fastapi import AsyncHost, HostSettings, turn_router
from opencode_sessions.files.errors import UploadError
from opencode_sessions.live.notifiers import notifier_at
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable
from opencode_sessions.texts import accepted

STRANGER = {"description": "Open / first: it gives you a name, in a cookie."}
NO_CHAT = {"description": "There is no such chat, or not for you."}
BAD = {"description": "The body is no form."}
NOT_TAKEN = {"description": "A file is too large, or there are too many."}
OTHER_TYPE = {"description": "A file is of a type that is not taken."}
PAGE = (Path(__file__).parent / "page.html").read_text()
GERMAN = json.loads((Path(__file__).parent / "german.json").read_text())  # of each text of the page
VISITOR = "visitor"

# The agent may read, ask questions, and asks before it runs a command or changes a file.
RULES = [*READ_WRITE, allow("question"), ask("bash"), ask("edit"), deny("task")]

# Several processes need one: then each shows at once what another one runs.
notifier = notifier_at(os.environ["NOTIFIER_URL"]) if "NOTIFIER_URL" in os.environ else None

opencode = AsyncHost(
    HostSettings(permissions_for=RULES, uploads=UPLOADS, artifacts=ARTIFACTS),
    tables=[SQLAlchemyTurnTable(Message, sessions)],
    notifier=notifier,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the tables, and run turns while the app serves."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with opencode.lifespan(app):
        yield


async def database() -> AsyncIterator[AsyncSession]:
    """A session of the database for one request."""
    async with sessions() as session:
        yield session


def visitor(request: Request) -> str:
    """Who asks: a random name in a cookie. Your own login goes here."""
    if not (found := request.cookies.get(VISITOR)):
        raise HTTPException(401, "Open / first.")
    return found


Database = Annotated[AsyncSession, Depends(database)]
Visitor = Annotated[str, Depends(visitor)]
# Beyond what a column of integers holds, the database raises an error.
Key = Annotated[int, Field(ge=1, le=2**31 - 1)]


async def owns(visitor: str, message: Message) -> bool:
    """May this visitor see the turn of the message, and steer it?"""
    async with sessions() as db:
        conversation = await db.get_one(Conversation, message.conversation_id)
        return conversation.owner == visitor


app = FastAPI(title="Chat", lifespan=lifespan)
app.include_router(
    turn_router(opencode, user=visitor, may_see=owns, who=lambda _: "you"),
    prefix="/turns",
    responses={401: STRANGER},
)


async def _conversation(db: AsyncSession, pk: int, visitor: str) -> Conversation:
    found = await db.get(Conversation, pk)
    if found is None or found.owner != visitor:
        raise HTTPException(404, "There is no such chat.")
    return found


@app.get("/", include_in_schema=False)
async def start(request: Request, db: Database) -> Response:
    """The visitor's newest chat, or the first one."""
    name = request.cookies.get(VISITOR) or secrets.token_urlsafe()
    newest = (
        select(Conversation.id).where(Conversation.owner == name).order_by(Conversation.id.desc()).limit(1)
    )
    pk = await db.scalar(newest) or await _new(db, name)
    response = RedirectResponse(f"/chats/{pk}")
    response.set_cookie(VISITOR, name, httponly=True, samesite="lax")
    return response


@app.post("/chats", include_in_schema=False)
async def new(db: Database, visitor: Visitor) -> Response:
    """Another chat."""
    return RedirectResponse(f"/chats/{await _new(db, visitor)}", status_code=303)


async def _new(db: AsyncSession, owner: str) -> int:
    db.add(conversation := Conversation(owner=owner))
    await db.commit()
    return conversation.id


@app.get("/chats/{pk}", include_in_schema=False)
async def show(pk: Key, request: Request, db: Database, visitor: Visitor) -> HTMLResponse:
    """The page of a chat, in the language of the browser, as are the texts of the library."""
    language = accepted(request.headers.get("accept-language", ""))
    conversation = await _conversation(db, pk, visitor)
    messages = select(Message).where(Message.conversation_id == pk).order_by(Message.id)
    chats = select(Conversation).where(Conversation.owner == visitor).order_by(Conversation.id.desc())
    told = {
        "pk": pk,
        "title": conversation.title,
        "messages": [{"pk": each.id, "prompt": each.prompt} for each in await db.scalars(messages)],
        "texts": GERMAN if language == "de" else {},
        "chats": [{"pk": each.id, "title": each.title} for each in await db.scalars(chats)],
    }
    # In a script, a "<" could begin the tag that ends it.
    page = PAGE.replace("{}/* the chat */", json.dumps(told).replace("<", "\\u003c"))
    return HTMLResponse(page.replace('lang="en"', f'lang="{language}"', 1))


@app.post(
    "/chats/{pk}/messages",
    responses={400: BAD, 401: STRANGER, 404: NO_CHAT, 413: NOT_TAKEN, 415: OTHER_TYPE},
)
async def send(
    pk: Key,
    prompt: Annotated[str, Form(min_length=1)],
    db: Database,
    visitor: Visitor,
    files: Annotated[list[UploadFile] | None, File()] = None,
) -> dict[str, int]:
    """Store a prompt and its files, and have it answered once it is committed."""
    conversation = await _conversation(db, pk, visitor)
    try:
        uploads = await UPLOADS.asave(conversation, files or [])
    except UploadError as error:
        raise HTTPException(error.status, str(error)) from error
    if conversation.title == "A new chat":
        conversation.title = prompt[:80]
    db.add(message := Message(conversation_id=pk, prompt=prompt, opencode_uploads=uploads))
    await opencode.enqueue(message)
    await db.commit()
    return {"pk": message.id}
