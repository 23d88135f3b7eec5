"""How many requests an asyncio client sends at once: over real sockets."""

from __future__ import annotations

import asyncio
import time

from scripted_server import ScriptedServer, response

from opencode_sessions import Timeouts, aio


async def ask_at_once(url, paths):
    async with aio.Client(url, timeouts=Timeouts(first_read=20)) as client:
        return await asyncio.gather(*(client.get(path) for path in paths), return_exceptions=True)


def test_an_asyncio_client_has_16_requests_under_way_at_once():
    under_way, most = [], []

    def answer(connection, head):
        under_way.append(head)
        time.sleep(0.05)
        most.append(len(under_way))
        under_way.remove(head)
        connection.sendall(response(b'{"id": "ses_1", "title": "t"}'))

    with ScriptedServer(answer) as server:
        answers = asyncio.run(ask_at_once(server.url, [f"ses_{number}" for number in range(64)]))
    assert [info.title for info in answers] == ["t"] * 64
    assert max(most) == 16


def test_a_request_waits_a_second_at_most_for_others_that_are_not_answered():
    def answer(connection, head):
        if b"ses_slow" in head:
            server.ended.wait(5)
        connection.sendall(response(b'{"id": "ses_1", "title": "t"}'))

    async def main(url):
        async with aio.Client(url, timeouts=Timeouts(first_read=20)) as client:
            slow = [asyncio.create_task(client.get(f"ses_slow_{number}")) for number in range(16)]
            await asyncio.sleep(0)
            began = time.monotonic()
            await client.get("ses_1")
            seconds = time.monotonic() - began
            for task in slow:
                task.cancel()
            return seconds

    with ScriptedServer(answer) as server:
        assert 0.9 < asyncio.run(main(server.url)) < 4.5
