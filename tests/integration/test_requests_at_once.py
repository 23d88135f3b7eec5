"""How many requests an asyncio client sends at once: over real sockets."""

from __future__ import annotations

import asyncio
import threading

from fix_cli import eventually
from scripted_server import ScriptedServer, response

from opencode_sessions import Timeouts, aio
from opencode_sessions.wire import transports

PATIENT = Timeouts(connect=60, first_read=60, read=60)
SESSION = response(b'{"id": "ses_1", "title": "t"}')


async def ask_at_once(url, paths):
    async with aio.Client(url, timeouts=PATIENT) as client:
        return await asyncio.gather(*(client.get(path) for path in paths))


def test_an_asyncio_client_has_16_requests_under_way_at_once(monkeypatch):
    monkeypatch.setattr(transports, "_LONGEST_QUEUE", 100)  # seconds: on a busy machine, 16 answers take some
    together, most, under_way = threading.Barrier(16), [], []

    def answer(connection, head):
        under_way.append(head)
        most.append(len(under_way))
        together.wait(60)  # until there are 16
        under_way.remove(head)
        connection.sendall(SESSION)

    with ScriptedServer(answer) as server:
        answers = asyncio.run(ask_at_once(server.url, [f"ses_{number}" for number in range(64)]))
    assert [info.title for info in answers] == ["t"] * 64
    assert max(most) == 16


def test_a_request_waits_a_second_at_most_for_others_that_are_not_answered():
    go_on, waited = threading.Event(), []

    def answer(connection, head):
        if b"ses_slow" in head:
            waited.append(go_on.wait(60))
        connection.sendall(SESSION)

    def under_way():
        return [head for head in server.heads if b"ses_slow" in head]

    async def main(url):
        async with aio.Client(url, timeouts=PATIENT) as client:
            slow = [asyncio.create_task(client.get(f"ses_slow_{number}")) for number in range(16)]
            await asyncio.to_thread(eventually, lambda: len(under_way()) == 16)
            began = asyncio.get_running_loop().time()
            await client.get("ses_1")
            seconds = asyncio.get_running_loop().time() - began
            answered = list(waited)
            go_on.set()
            await asyncio.gather(*slow)
            return seconds, answered

    with ScriptedServer(answer) as server:
        seconds, answered = asyncio.run(main(server.url))
    assert transports._LONGEST_QUEUE == 1
    assert seconds > 0.9
    assert answered == []
