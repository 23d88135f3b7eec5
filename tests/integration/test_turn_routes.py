"""`turn_routes` of Starlette and `turn_router` of FastAPI: the same answers to what no browser of ours would send."""

from __future__ import annotations

import asyncio
import json
import time

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from host_rows import AsyncRows, own_tasks, urls_of
from selection import sample
from starlette.applications import Starlette
from starlette.routing import Mount

from opencode_sessions.fastapi import turn_router
from opencode_sessions.starlette import turn_routes

BASH = '!tool bash {"command": "echo hello", "description": "greets"}'


def by_fastapi(host, may_see):
    app = FastAPI()
    app.include_router(turn_router(host, may_see=may_see), prefix="/turns")
    return app


def by_starlette(host, may_see):
    return Starlette(routes=[Mount("/turns", routes=turn_routes(host, may_see=may_see))])


APPS = pytest.mark.parametrize("app_of", [by_fastapi, by_starlette])


async def everybody(user, message):
    await asyncio.sleep(0.01)
    return True


def nobody(user, message):
    return False


class AwayError(Exception):
    """What asks for the user's rights is away."""


async def broken(user, message):
    raise AwayError


@pytest.fixture
def run(request, server, tmp_path):
    """Call a test's coroutine function with rows, a host that is started, and what makes a client of an app."""

    def run(main, app_of, may_see=everybody, database="sqlite", **settings):
        async def all_of_it():
            async with AsyncRows(server, urls_of(request, tmp_path, database)[1]) as rows:
                async with rows.host(**settings) as host:
                    transport = httpx2.ASGITransport(app_of(host, may_see))
                    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                        await asyncio.wait_for(main(rows, host, http), 200)
            assert own_tasks() == []

        asyncio.run(all_of_it())

    return run


@APPS
def test_who_may_not_see_a_turn_is_told_the_same_as_of_one_that_is_not_there(run, app_of):
    async def main(rows, host, http):
        message = await rows.add("hello")
        for pk in (message.id, 999):
            for method, what in (("GET", "events"), ("POST", "cancel"), ("POST", "retry")):
                response = await http.request(method, f"/turns/prompts/{pk}/{what}")
                assert (response.status_code, "no such turn" in response.json()["detail"]) == (404, True)

    run(main, app_of, nobody)


@APPS
@pytest.mark.parametrize("database", sample(["postgres", "sqlite"], "postgres"))
def test_an_address_that_no_row_can_have_is_not_there(run, app_of, database):
    async def main(rows, host, http):
        await rows.add("hello")
        for pk in (
            "9" * 10,
            "9" * 30,
            "9" * 5000,
            "-1",
            "%00",
            "1%00",
            "%ff",
            "01",
            "1,2",
            "1.0",
            "\U0001f642",
            "٣",
        ):
            response = await http.get(f"/turns/prompts/{pk}/events")
            assert response.status_code == 404, pk
        for table in ("nothing", "%00", "conversations"):
            assert (await http.post(f"/turns/{table}/1/cancel")).status_code == 404

    run(main, app_of, database=database)


@APPS
def test_an_error_of_may_see_is_the_hosts_and_lets_nobody_see_anything(run, app_of):
    async def main(rows, host, http):
        message = await rows.add("hello")
        with pytest.raises(AwayError):
            await http.get(f"/turns/prompts/{message.id}/events")
        with pytest.raises(AwayError):
            await http.post(f"/turns/prompts/{message.id}/cancel")
        assert (await rows.row(message)).status == "pending"

    run(main, app_of, broken)


NONSENSE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"7",
    b"\xff\xfe",
    b"[" * 60_000,
    *(b'{"ask": ' + b"[" * deep + b"]" * deep + b"}" for deep in range(300, 1_000, 20)),
    b"9" * 5000,
    b'{"ask": 7, "reply": "once"}',
    b'{"ask": "per_1", "reply": ["once"]}',
    b'{"ask": "per_1", "reply": "once", "labels": null}',
    b'{"ask": "per_1", "reply": "once", "labels": [7]}',
    b'{"ask": "per_1", "reply": "once", "labels": [[7]]}',
    b'{"ask": "per_1", "reply": "once", "labels": "ab"}',
    b'{"ask": "per_1", "reply": "reject", "message": 0}',
    b'{"ask": "per_1", "reply": "reject", "message": "\\ud800"}',
    b'{"ask": "\\ud800", "reply": "perhaps"}',
    b'{"ask": "per_1", "reply": "once", "shown": null}',
]
NO_JSON = [
    b"Infinity",
    b'{"ask": NaN, "reply": "once"}',
    b'{"ask": 1e999}',
    b'{"ask": "\xed\xa0\x80"}',
    b"\xff\xfe",
]


@APPS
def test_a_body_that_is_no_answer_is_refused_in_words(run, app_of):
    async def main(rows, host, http):
        message = await rows.add("hello")
        url = f"/turns/prompts/{message.id}/answer"
        for body in NONSENSE:
            response = await http.post(url, content=body, headers={"content-type": "application/json"})
            assert response.status_code in (400, 422), (body[:80], response.status_code)
            assert response.json()["detail"]
        for long in (
            b" " * 70_000,
            json.dumps({"ask": "a", "reply": "reject", "message": "a" * 70_000}).encode(),
        ):
            response = await http.post(url, content=long, headers={"content-type": "application/json"})
            assert (response.status_code, "64 KiB" in response.json()["detail"]) == (413, True)

        async def pieces():
            for _ in range(70):
                yield b" " * 1024

        response = await http.post(url, content=pieces(), headers={"content-type": "application/json"})
        assert response.status_code == 413

    run(main, app_of)


@APPS
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_body_that_no_response_can_repeat_is_refused_alike_by_both_frameworks(run, app_of, kind):
    async def main(rows, host, http):
        message = await rows.add("hello")
        url = f"/turns/prompts/{message.id}/answer"
        for body in NO_JSON:
            response = await http.post(url, content=body, headers={"content-type": kind})
            assert (response.status_code, response.json()) == (400, {"detail": "The body must be JSON."}), (
                body
            )

    run(main, app_of)


@APPS
def test_other_methods_are_refused(run, app_of):
    async def main(rows, host, http):
        message = await rows.add("hello")
        for method, what in (
            ("HEAD", "events"),
            ("POST", "events"),
            ("GET", "answer"),
            ("GET", "cancel"),
            ("HEAD", "cancel"),
            ("PUT", "retry"),
            ("DELETE", "retry"),
        ):
            response = await asyncio.wait_for(http.request(method, f"/turns/prompts/{message.id}/{what}"), 10)
            assert response.status_code == 405, (method, what)

    run(main, app_of)


@APPS
def test_a_last_event_id_that_is_none_shows_all_of_the_turn(run, app_of):
    async def main(rows, host, http):
        message = await rows.ended(await rows.send(host, "hello"))
        url = f"/turns/prompts/{message.id}/events"
        for given in ("", "x", "-1", "9" * 19, "9" * 4000, "1.5", "\u00e9".encode("latin-1"), "0x1"):
            response = await http.get(url, headers={"last-event-id": given})
            assert (response.status_code, "You said" in response.text) == (200, True), given
            assert response.headers["content-type"].startswith("text/event-stream")
        response = await http.get(url, headers={"last-event-id": str(message.revision)})
        assert "You said" not in response.text
        assert "You said" not in (await http.get(url, params={"after": message.revision})).text

    run(main, app_of)


@APPS
def test_answers_go_through_and_labels_for_a_permission_are_refused(run, app_of):
    async def main(rows, host, http):
        message = await rows.send(host, BASH)
        row = await rows.until(message, lambda row: row.opencode_turn_parked)
        shown = await host.asked(row, row.asks[0]["id"])
        url, known = f"/turns/prompts/{message.id}", {"ask": shown.id, "shown": shown.shown}
        for body, status, said in (
            ({**known, "reply": "once", "labels": [["a"]]}, 400, "nothing to choose"),
            ({**known, "reply": "always"}, 403, "for always"),
            ({"ask": shown.id, "reply": "once"}, 400, "shown"),
        ):
            response = await http.post(f"{url}/answer", json=body)
            assert (response.status_code, said in response.json()["detail"]) == (status, True), response.text
        response = await http.post(f"{url}/answer", json={**known, "reply": "once"})
        assert (response.status_code, response.content) == (204, b"")
        assert (await rows.ended(message)).status == "completed"
        assert (await http.post(f"{url}/retry")).status_code == 409

    run(main, app_of)


@APPS
def test_what_is_wrong_with_the_host_is_told_to_nobody_but_the_host(run, app_of):
    async def main(rows, host, http):
        message = await rows.add("hello", status="failed", error={"name": "X", "message": "secret"})
        with pytest.raises(Exception, match="retry must return a new Prompt"):
            await http.post(f"/turns/prompts/{message.id}/retry")

    run(main, app_of, retry=lambda message: "secret")


@APPS
def test_a_browser_that_goes_is_forgotten_at_once_though_nothing_happens(run, app_of):
    async def main(rows, host, http):
        waits = await rows.add("hello")
        config = uvicorn.Config(app_of(host, everybody), port=0, log_level="warning", lifespan="off")
        served = uvicorn.Server(config)
        serving = asyncio.create_task(served.serve())
        await until(lambda: served.started)
        port = served.servers[0].sockets[0].getsockname()[1]
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /turns/prompts/{waits.id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readuntil(b"event: state")
            await until(lambda: len(viewers(host)) == 1)
            writer.close()
            began = time.monotonic()
            await until(lambda: not viewers(host))
            assert time.monotonic() - began < 5
        served.should_exit = True
        await serving

    run(main, app_of)


def viewers(host):
    return [viewer for channel in host.live._all() for viewer in channel.viewers]


async def until(found):
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
