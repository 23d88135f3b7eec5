"""A web process of an app: it stores messages and enqueues their turns, shows turns, answers what agents ask, cancels.

`python -m chaos.web MODULE TASK`: of a task, `enqueue` has what it stores, and `watch` the messages that it shows and
steers, whichever process runs them. It ends when all of that has ended. What fails is tried again until then.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import json
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from json_client import JsonClient
from sqlalchemy.exc import SQLAlchemyError

from chaos import host
from chaos.host import Message
from chaos.notes import note
from chaos.worker import OVER
from opencode_sessions import Ask
from opencode_sessions.errors import OpencodeError
from opencode_sessions.frontends.display_json import JSON
from opencode_sessions.host import AsyncHost, Refused
from opencode_sessions.live import RenderContext, WatchRequest, astream, ended, stream
from opencode_sessions.runtime.stepping import blocking_sleep, result_of, run_sync
from opencode_sessions.store.turn_table import TurnRow

PAUSE = 0.3
TROUBLE = (OpencodeError, SQLAlchemyError, Refused, OSError)


@asynccontextmanager
async def opened(context):
    """It, whichever of the two kinds it is."""
    if hasattr(context, "__aenter__"):
        async with context as entered:
            yield entered
    else:
        with context as entered:
            yield entered


class Web:
    """What it does, for both kinds of hosts: each of its jobs in a task, or in a thread."""

    def __init__(self, app, task):
        self._app, self._task = app, task
        self._open = set(task["watch"])
        self._suspends = isinstance(app.opencode, AsyncHost)
        self._sleep = asyncio.sleep if self._suspends else blocking_sleep

    async def run(self):
        jobs = [self._enqueue_all(), self._steer(), *(self._watch(key) for key in self._task["watch"])]
        if self._suspends:
            await asyncio.gather(*jobs)
            return
        with ThreadPoolExecutor(len(jobs)) as pool:
            for each in [pool.submit(run_sync, job) for job in jobs]:
                each.result()

    async def _insist(self, what, key, action):
        """Its result, when it comes to one."""
        while True:
            try:
                return await action()
            except TROUBLE as error:
                note(f"not {what}", message=f"postgresql:{key}", error=repr(error)[:300])
                await self._sleep(PAUSE)

    async def _enqueue_all(self):
        for at, key, conversation, prompt, person in self._task["enqueue"]:
            await self._sleep(max(0.0, at - time.monotonic()))
            values = {"id": key, "conversation_id": conversation, "prompt": prompt, "person": person}
            await self._insist("enqueued", key, lambda values=values: self._enqueue(values))

    async def _enqueue(self, values):
        async with opened(self._app.sessions()) as db:
            if await result_of(db.get(Message, values["id"])) is None:  # else an earlier try was committed
                db.add(message := Message(**values))
                await result_of(self._app.opencode.enqueue(message))
                await result_of(db.commit())

    async def _load(self, key):
        async with opened(self._app.sessions()) as db:
            return await result_of(db.get(Message, key))

    async def _watch(self, key):
        while (client := await self._insist("shown", key, lambda: self._look(key))) is None:
            await self._sleep(PAUSE)
        parts = client.state["parts"] if client.state else []
        text = "\n".join(part["markdown"] for part in parts if part["type"] == "text")
        note("watched", message=f"postgresql:{key}", status=client.end, text=text)
        self._open.discard(key)

    async def _look(self, key):
        """What a browser has at the end of a stream, if that was the end of the turn."""
        message = await self._load(key)
        if message is None:
            return None
        client, opencode = JsonClient(), self._app.opencode
        request = WatchRequest(
            key=opencode.table.key_of(message),
            row=TurnRow.of(message),
            context=RenderContext(),
            encoder=JSON,
            seconds=20.0,
        )
        if message.status in OVER:
            client.take(b"".join(ended(request)))
        elif self._suspends:
            async for said in astream(opencode.live, request):
                client.take(said)
        else:
            for said in stream(opencode.live, request):
                client.take(said)
        return client if client.end else None

    async def _steer(self):
        cancels = list(self._task["cancels"])
        while self._open or cancels:
            for at, key in cancels[:]:
                if at <= time.monotonic() and await self._insist(
                    "cancelled", key, lambda key=key: self._cancel(key)
                ):
                    cancels.remove([at, key])
            for key in list(self._open):
                message = await self._insist("loaded", key, lambda key=key: self._load(key))
                if message is not None and message.status == "streaming" and message.person == "is elsewhere":
                    for asked in message.asks:
                        await self._answer(message, asked)
            await self._sleep(PAUSE)

    async def _cancel(self, key):
        message = await self._load(key)
        if message is None:
            return False
        cancelled = await result_of(self._app.opencode.cancel(message, by="the clerk"))
        note("cancelled" if cancelled else "came too late", message=f"postgresql:{key}")
        return True

    async def _answer(self, message, asked):
        if Ask.from_json(asked).age < host.thought(asked["id"]):
            return
        answer = host.answer(asked, "says no and why" if host.thought(asked["id"]) > 1 else "says yes")
        told = {"message": f"postgresql:{message.id}", "ask": asked["id"]}
        try:
            await result_of(self._app.opencode.answer(message, asked["id"], answer))
        except TROUBLE as error:
            note("not answered", error=repr(error)[:300], **told)
        else:
            note("answered", reply=answer.reply, **told)


async def main(module, task):
    signal.alarm(max(1, int(task["until"] - time.monotonic())))  # whatever it hangs in
    app = importlib.import_module(module)
    async with AsyncExitStack() as running:
        if hasattr(app, "lifespan"):
            await running.enter_async_context(app.lifespan(None))
        else:
            if hasattr(app, "app") and hasattr(app.app, "open_async"):
                await running.enter_async_context(app.app.open_async())
            await running.enter_async_context(opened(app.opencode))
        await Web(app, task).run()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)  # why it hangs
    asyncio.run(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
