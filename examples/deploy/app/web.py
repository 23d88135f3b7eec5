"""The web processes: they store prompts and show turns, and run none."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response
from shop import Conversation, Message, opencode, queue, sessions

from opencode_sessions.fastapi import turn_router

VISITOR = "visitor"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the queue, and show turns while the app serves."""
    async with queue.open_async(), opencode.lifespan(app):
        yield


def visitor(request: Request) -> str:
    """Who asks: a random name in a cookie. Your own login goes here."""
    if not (found := request.cookies.get(VISITOR)):
        raise HTTPException(401, "POST /chats first.")
    return found


Visitor = Annotated[str, Depends(visitor)]


async def owns(visitor: str, message: Message) -> bool:
    """May this visitor see the turn of the message, and steer it?"""
    async with sessions() as db:
        return (await db.get_one(Conversation, message.conversation_id)).owner == visitor


app = FastAPI(title="Shop", lifespan=lifespan)
app.include_router(turn_router(opencode, user=visitor, may_see=owns), prefix="/turns")


@app.get("/healthz")
async def healthz() -> None:
    """This process serves."""


@app.post("/chats")
async def new(request: Request, response: Response) -> dict[str, int]:
    """A chat of the visitor's, who gets a name."""
    name = request.cookies.get(VISITOR) or secrets.token_urlsafe()
    response.set_cookie(VISITOR, name, httponly=True, samesite="lax")
    async with sessions.begin() as db:
        db.add(conversation := Conversation(owner=name))
        await db.flush()
        return {"pk": conversation.id}


@app.post("/chats/{pk}/messages")
async def send(pk: int, prompt: Annotated[str, Form(min_length=1)], visitor: Visitor) -> dict[str, int]:
    """Store a prompt, and have a worker run its turn once it is committed."""
    async with sessions.begin() as db:
        conversation = await db.get(Conversation, pk)
        if conversation is None or conversation.owner != visitor:
            raise HTTPException(404, "There is no such chat.")
        db.add(message := Message(conversation_id=pk, prompt=prompt))
        await opencode.enqueue(message)
        return {"pk": message.id}
