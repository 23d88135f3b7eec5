"""`chat_routes` of Starlette and `chat_router` of FastAPI, without a client of the protocols' own."""

from __future__ import annotations

import asyncio
import threading

import httpx2
import pytest
from chat_readers import AguiReader, VercelReader
from fastapi import FastAPI
from host_models import Prompt
from host_rows import AsyncRows, own_tasks, urls_of
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.routing import Mount

from opencode_sessions.display import Tool, display, display_message
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


class ChatsWithIds(Chats):
    """Chats that know which messages of a front end they have."""

    def __init__(self, rows, host):
        super().__init__(rows, host)
        self.known = {}

    async def send(self, user, chat, prompt, *, message_id=None):
        if message_id not in self.known:
            self.known[message_id] = await super().send(user, chat, prompt)
        return self.known[message_id]


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


def answered_by_vercel(chat, name, asks, approvals):
    parts = [
        {
            "state": "approval-responded",
            "approval": {"id": ask.id, "approved": approved, "descriptor": {"shown": ask.shown}},
        }
        for ask, approved in zip(asks, approvals, strict=True)
    ]
    return {"id": chat, "messages": [{"id": name, "role": "assistant", "parts": parts}]}


def answered_by_agui(chat, name, asks, approvals):
    resume = [
        {
            "interruptId": f"{ask.id}:{ask.shown}",
            "status": "resolved",
            "payload": {"approved": approved, "message": "Rather not."},
        }
        for ask, approved in zip(asks, approvals, strict=True)
    ]
    return {"threadId": chat, "runId": "r2", "messages": [], "resume": resume}


ANSWERS = {"vercel": answered_by_vercel, "agui": answered_by_agui}
TWO_AT_ONCE = """!tool bash {"command": "echo one", "description": "one"}
!and bash {"command": "echo two", "description": "two"}
!say Done."""


@pytest.fixture
def run(request, server, tmp_path):
    """Call a test's coroutine function with rows, a host that is started, and a client of its app."""

    def run(talk, app_of, chats_of=Chats):
        async def main():
            async with AsyncRows(server, urls_of(request, tmp_path, "sqlite")[1]) as rows:
                async with rows.host() as host:
                    transport = httpx2.ASGITransport(app_of(host, chats_of(rows, host)))
                    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                        await asyncio.wait_for(talk(rows, host, http), 200)
            assert own_tasks() == []

        asyncio.run(main())

    return run


@pytest.mark.parametrize("app_of", [by_fastapi, by_starlette])
@pytest.mark.parametrize("protocol", FRONTS)
def test_a_prompt_is_stored_and_its_turn_told(run, app_of, protocol):
    body_of, make = FRONTS[protocol]
    version = "v1" if protocol == "vercel" else None

    async def talk(rows, host, http):
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

    run(talk, app_of)


@pytest.mark.parametrize(
    ("approvals", "states"), [((False, True), ["refused", "done"]), ((False, False), ["refused", "refused"])]
)
@pytest.mark.parametrize("protocol", FRONTS)
def test_answers_to_two_asks_in_one_request_are_all_delivered_whatever_their_order(
    run, protocol, approvals, states
):
    body_of, _ = FRONTS[protocol]

    async def talk(rows, host, http):
        chat, url = str(await rows.conversation()), f"/chats/{protocol}"
        await http.post(url, json=body_of(chat, TWO_AT_ONCE))
        (row,) = await rows.all()
        row = await rows.until(row, lambda row: len(row.asks) == len(approvals))
        asks = [await host.asked(row, ask["id"]) for ask in row.asks]
        asks.sort(key=lambda ask: "echo two" in ask.target)
        given = ANSWERS[protocol](chat, f"prompts-{row.id}", asks, approvals)
        response = await http.post(url, json=given)
        assert response.status_code == 200, response.text
        row = await rows.ended(row)
        tools = display(row.parts, status=row.status, asks=[])
        assert [part.state for part in tools if isinstance(part, Tool)] == states
        assert "echo two" in response.text  # a refused request has no events of a turn

    run(talk, by_starlette)


@pytest.mark.parametrize("protocol", FRONTS)
def test_turns_that_have_ended_are_not_rendered_in_the_thread_of_the_event_loop(run, protocol, monkeypatch):
    threads = []

    def render(*given, **more):
        threads.append(threading.current_thread())
        return display_message(*given, **more)

    monkeypatch.setattr("opencode_sessions.live.view.display_message", render)

    async def talk(rows, host, http):
        chat = await rows.conversation()
        for word in ("one", "two"):
            parts = [{"id": word, "type": "text", "text": word}]
            await rows.add(word, chat, status="completed", content=word, parts=parts)
        for url in (f"/chats/{protocol}/{chat}", f"/chats/{protocol}/{chat}/stream"):
            assert "two" in (await http.get(url)).text
            assert threads
            assert threading.main_thread() not in threads
            threads.clear()

    run(talk, by_starlette)


@pytest.mark.parametrize(("chats_of", "count"), [(ChatsWithIds, 1), (Chats, 2)])
@pytest.mark.parametrize("protocol", FRONTS)
def test_a_prompt_that_is_sent_twice_is_stored_once_by_chats_that_take_its_id(run, protocol, chats_of, count):
    body_of, make = FRONTS[protocol]

    async def talk(rows, host, http):
        chat = str(await rows.conversation())
        for _ in range(2):
            reader = make()
            reader.take((await http.post(f"/chats/{protocol}", json=body_of(chat, "!say Hello."))).content)
            assert "Hello." in str(reader.parts if protocol == "vercel" else reader.messages)
        assert len(await rows.all()) == count

    run(talk, by_starlette, chats_of)
