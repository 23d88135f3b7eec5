"""What docs/fastapi.md shows is added to the tutorial's app, served, read over HTTP, and run."""

from __future__ import annotations

import os
from types import SimpleNamespace

import httpx2
import pytest
from fix_docs import files_of
from json_client import JsonClient

pytestmark = pytest.mark.full

ASKS = '!tool bash {"command": "echo hello", "description": "greets"}'


@pytest.fixture(scope="module")
def folder(docs_folder):
    return docs_folder("tutorial-fastapi.md", "fastapi.md")


@pytest.fixture(scope="module")
def app(serve, folder):
    """The app, and who has opened its page."""
    served = serve("app:app", folder.path)
    with httpx2.Client(base_url=served.url, timeout=100) as http:
        assert "<title>Ask</title>" in http.get("/").text
        yield SimpleNamespace(url=served.url, http=http)


@pytest.fixture
def run(folder, app):
    """Runs a program in the folder, beside the app; what it printed."""
    return folder.run


def ask(http, **body):
    """Where the turn of a new message is."""
    return address_of(http.post("/messages", json=body))


def address_of(response):
    made = response.json()
    return f"/turns/{made['table']}/{made['pk']}"


def watched(http, turn):
    """What a front end shows at the end."""
    client = JsonClient()
    with http.stream("GET", f"{turn}/events") as events:
        assert events.status_code == 200, events.read()
        client.take(events.read())
    return client.state


def test_a_prompt_is_answered_and_nobody_else_sees_it(app):
    turn = ask(app.http, prompt="hello")
    state = watched(app.http, turn)
    assert (state["status"], state["parts"][-1]["markdown"]) == ("completed", 'You said: "hello".')
    with httpx2.Client(base_url=app.url, timeout=100) as stranger:
        assert stranger.get(f"{turn}/events").status_code == 401
        stranger.get("/")
        assert stranger.get(f"{turn}/events").status_code == 404
    assert app.http.post(f"{turn}/cancel").status_code == 409
    assert app.http.post(f"{turn}/retry").status_code == 409
    assert app.http.post(f"{turn}/answer", json={"ask": "per_x"}).status_code == 422


def test_its_page_stops_a_turn_tries_it_again_and_answers_what_the_agent_asks(app, chromium):
    page = chromium.new_page()
    page.goto(app.url)
    page.fill("input", ASKS)
    page.click("text=Ask >> nth=-1")
    page.wait_for_selector("text=Allow once", timeout=60_000)
    page.click("text=Stop")
    page.click("text=Try again", timeout=60_000)
    page.click("text=Allow once", timeout=60_000)
    page.wait_for_function("document.querySelector('pre').textContent.endsWith('completed')", timeout=60_000)
    assert "hello" in page.text_content("pre")
    assert page.locator("p button").count() == 0
    page.close()


def test_the_client_of_a_front_end_is_short():
    assert len(files_of("tutorial-fastapi.md")["static/turn.js"].splitlines()) <= 25


def test_a_dispatcher_hands_turns_to_a_worker(run):
    said = run("-c", WORK)
    assert said == 'pending\ncompleted You said: "hello".\ncompleted You said: "left behind".\n'


WORK = """
import asyncio
from contextlib import suppress
from datetime import datetime
from sqlalchemy import update
from models import Conversation, Message, sessions
from queued import opencode, queue, recover, work

async def add(prompt):
    async with sessions.begin() as db:
        db.add(conversation := Conversation(owner="ada"))
        await db.flush()
        db.add(message := Message(conversation_id=conversation.id, prompt=prompt))
        await opencode.enqueue(message)
    return message.id

async def ended(pk):
    while True:
        async with sessions() as db:
            message = await db.get_one(Message, pk)
        if message.finished_at:
            return f"{message.status} {message.content}"
        await asyncio.sleep(0.1)

async def main():
    async with opencode:
        first = await add("hello")
        async with sessions() as db:
            print((await db.get_one(Message, first)).status)
        worker = asyncio.create_task(work())
        print(await ended(first))
        worker.cancel()
        lost = await add("left behind")
        queue.get_nowait()
        long_ago = update(Message).where(Message.id == lost).values(opencode_turn_lease=datetime(2020, 1, 1))
        async with sessions.begin() as db:
            await db.execute(long_ago)
        tasks = [asyncio.create_task(each()) for each in (work, recover)]
        print(await ended(lost))
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

asyncio.run(main())
"""


def test_a_starlette_app_shows_and_steers_turns(serve, folder, app, run):
    run("-c", ADD)
    served = serve("starlette_app:app", folder.path)
    with httpx2.Client(base_url=served.url, timeout=100, cookies={"admin": "yes"}) as http:
        turn = ask(http, conversation_id=77, prompt="hello")
        state = watched(http, turn)
        assert state["parts"][-1]["markdown"] == 'You said: "hello".'
        for body, status in (("not JSON", 400), ('{"ask": 1}', 400), ('{"ask": "x", "reply": "once"}', 400)):
            assert http.post(f"{turn}/answer", content=body).status_code == status
        late = http.post(f"{turn}/answer", json={"ask": "x", "reply": "once", "shown": "y"})
        assert (late.status_code, "any more" in late.json()["detail"]) == (409, True)
        assert http.post(f"{turn}/cancel").status_code == 409
        assert http.post(f"{turn}/retry").status_code == 409

        turn = ask(http, conversation_id=77, prompt=ASKS)
        answer = {"ask": first_ask(http, turn), "reply": "reject"}
        assert http.post(f"{turn}/answer", json=answer).status_code == 204
        assert watched(http, turn)["status"] == "failed"
        again = address_of(http.post(f"{turn}/retry"))
        assert address_of(http.post(f"{turn}/retry")) == again != turn
        turn = again
        first_ask(http, turn)
        assert http.post(f"{turn}/cancel").status_code == 204
        assert watched(http, turn)["status"] == "cancelled"
        assert http.get("/turns/other/1/events").status_code == 404
        assert http.get("/turns/messages/other/events").status_code == 404
    assert httpx2.get(f"{served.url}{turn}/events", timeout=100).status_code == 404


ADD = """
import asyncio
from models import Conversation, sessions

async def add():
    async with sessions.begin() as db:
        db.add(Conversation(id=77, owner="admin"))

asyncio.run(add())
"""


def first_ask(http, turn):
    """The id of what the agent asks, once it does."""
    client = JsonClient()
    with http.stream("GET", f"{turn}/events") as events:
        for data in events.iter_raw():
            client.take(data)
            if client.state and client.state["asks"]:
                return client.state["asks"][0]["id"]
    raise AssertionError(client.state)


def test_the_script_prints_an_answer(run):
    assert run("script.py") == 'completed You said: "Where shall we eat?".\n'


def test_a_host_that_blocks_streams_the_events_of_its_turns(run):
    said = run("-c", STREAM)
    client = JsonClient()
    client.take(said.encode())
    assert client.end == "completed"
    assert client.state["parts"][-1]["markdown"] == 'You said: "hello".'
    assert client.events.count("begin") == 2  # while it ran, and afterwards


STREAM = """
from models import Conversation, Message
from script import opencode, sessions
from streaming import events

with opencode, sessions() as db:
    db.add(conversation := Conversation(owner="ada"))
    db.flush()
    db.add(message := Message(conversation_id=conversation.id, prompt="hello"))
    opencode.enqueue(message)
    db.commit()
    said = b"".join(events(opencode, message))
    db.refresh(message)
    print((said + b"".join(events(opencode, message))).decode(), end="")
"""


def test_its_tests_run(run):
    said = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "test_app.py"
    )
    assert "1 passed" in said
