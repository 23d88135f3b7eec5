"""`chat_routes` of Starlette and `chat_router` of FastAPI, without a client of the protocols' own."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from chat_readers import AguiReader, VercelReader
from fastapi import FastAPI
from host_models import Prompt
from host_rows import AsyncRows, own_tasks, urls_of
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.routing import Mount

from opencode_sessions.fastapi import chat_router
from opencode_sessions.starlette import chat_routes


class Chats:
    """The chats of a host are its conversations, by their keys."""

    def __init__(self, rows, host):
        self.rows, self.host = rows, host

    async def turns(self, user, chat, last):
        assert user.headers["host"] == "testserver"
        async with self.rows.sessions() as db:
            found = select(Prompt).where(Prompt.conversation_id == int(chat)).order_by(Prompt.id.desc())
            return [*await db.scalars(found.limit(last))][::-1]

    async def send(self, user, chat, prompt):
        return await self.rows.send(self.host, prompt, int(chat))


def by_fastapi(host, chats):
    app = FastAPI()
    app.include_router(chat_router(host, chats), prefix="/chats")
    return app


def by_starlette(host, chats):
    return Starlette(routes=[Mount("/chats", routes=chat_routes(host, chats))])


def vercel(chat, prompt):
    return {
        "id": chat,
        "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": prompt}]}],
    }


def agui(chat, prompt):
    return {"threadId": chat, "runId": "r", "messages": [{"id": "1", "role": "user", "content": prompt}]}


FRONTS = {"vercel": (vercel, VercelReader), "agui": (agui, AguiReader)}


@pytest.mark.parametrize("app_of", [by_fastapi, by_starlette])
@pytest.mark.parametrize("protocol", FRONTS)
def test_a_prompt_is_stored_and_its_turn_told(request, server, tmp_path, app_of, protocol):
    body_of, make = FRONTS[protocol]
    version = "v1" if protocol == "vercel" else None

    async def talk(rows, http):
        chat, url = str(await rows.conversation()), f"/chats/{protocol}"
        assert (await http.get(f"{url}/{chat}/stream")).status_code == 204
        assert (await http.post(f"{url}/{chat}/stop")).status_code == 204
        response = await http.post(url, json=body_of(chat, "!say Hello."))
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers.get("x-vercel-ai-ui-message-stream") == version
        for each in (response, await http.get(f"{url}/{chat}/stream")):
            reader = make()
            reader.take(each.content)
            assert "Hello." in str(reader.parts if protocol == "vercel" else reader.messages)
        told = (await http.get(f"{url}/{chat}")).json()
        assert [message["role"] for message in told] == ["user", "assistant"]
        (row,) = await rows.all()
        assert (row.prompt, row.status) == ("!say Hello.", "completed")
        assert (await http.put(url)).status_code == 405

    async def main():
        async with AsyncRows(server, urls_of(request, tmp_path, "sqlite")[1]) as rows:
            async with rows.host() as host:
                transport = httpx2.ASGITransport(app_of(host, Chats(rows, host)))
                async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                    await asyncio.wait_for(talk(rows, http), 200)
        assert own_tasks() == []

    asyncio.run(main())
