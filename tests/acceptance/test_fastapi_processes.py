"""The FastAPI chat in several processes: what one begins, another one shows, takes up, and ends."""

from __future__ import annotations

import time

import pytest
from fix_fastapi import wait_until
from selection import sample

LONG = "!slow 0.05\n!say one two three four five six"

DATABASES = pytest.mark.parametrize("database", sample(["postgres", "sqlite"], "postgres"))


@pytest.mark.lines
@pytest.mark.full
@DATABASES
def test_a_browser_at_another_process_sees_the_turn_and_steers_it(
    start_fastapi, fastapi_database, held, database
):
    url = fastapi_database(database)
    runs, shows = start_fastapi(url), start_fastapi(url)
    ada = runs.visitor()
    message = ada.send(LONG)
    with ada.at(shows).watch(message) as watched:
        watched.wait_for_text("four")
        assert not watched.state["live"]
        assert ada.act(message, "cancel").status_code == 204
        state = watched.ended()
        held.set()
    assert (state["status"], watched.text) == ("cancelled", "one two three four")


@pytest.mark.lines
@pytest.mark.full
@DATABASES
def test_an_ask_is_answered_at_another_process_though_the_first_one_was_killed(
    start_fastapi, fastapi_database, database
):
    url = fastapi_database(database)
    dies, lives = start_fastapi(url), start_fastapi(url)
    ada = dies.visitor()
    message = ada.send('!tool bash {"command": "echo hello", "description": "greets"}')
    with ada.watch(message) as watched:
        ask = watched.ask()
        parked = "SELECT opencode_turn_parked FROM messages WHERE id = :id"
        wait_until(lambda: _execute(url, parked, message).scalar())  # nothing runs for it any more
    dies.kill()
    ada.at(lives)
    assert ada.act(message, "answer", ask=ask["id"], reply="once", shown=ask["shown"]).status_code == 204
    assert ada.ended(message)["status"] == "completed"


CUT = {"hypercorn"}  # its worker gets no signal, and cuts what is open after 3 s


@pytest.mark.parametrize(
    "where", sample(["uvicorn-postgres", "uvicorn-sqlite", "hypercorn-sqlite", "granian-sqlite"])
)
def test_a_process_that_is_told_to_end_ends_its_streams_and_leaves_its_turn_to_another(
    start_fastapi, fastapi_database, held, where
):
    served_by, _, database = where.partition("-")
    url = fastapi_database(database)
    ends = start_fastapi(url, served_by=served_by)
    ada = ends.visitor()
    message, behind = ada.send(LONG), ada.send(LONG)
    with ada.watch(message) as watched, ada.watch(behind) as waiting:
        watched.wait_for_text("four")
        began = time.monotonic()
        ends.terminate()
        assert time.monotonic() - began < 20
        for each in (watched, waiting):
            each.wait(lambda each: each.over)
            assert served_by in CUT or each.events[-1] == "again"
    assert served_by in CUT or "Traceback" not in ends.log.read_text()
    ada.at(start_fastapi(url))  # which looks for what was left behind, at its start
    held.set()
    for each in (message, behind):
        state = ada.ended(each)
        assert state["status"] == "completed"
        assert state["parts"][-1]["markdown"].strip() == "one two three four five six"


@pytest.mark.full
def test_a_turn_whose_process_was_killed_is_taken_up_when_its_lease_has_run_out(
    start_fastapi, fastapi_database, held
):
    url = fastapi_database("postgres")
    dies = start_fastapi(url)
    ada = dies.visitor()
    message = ada.send(LONG)
    with ada.watch(message) as watched:
        watched.wait_for_text("four")
    dies.kill()
    _expire(url, message)
    ada.at(start_fastapi(url))
    held.set()
    assert ada.ended(message)["parts"][-1]["markdown"].strip() == "one two three four five six"


@pytest.mark.lines
@pytest.mark.full
def test_a_server_that_is_killed_fails_the_turn_and_the_next_one_runs_on_the_next_server(
    start_fastapi, fastapi_database, own_server, held
):
    first = own_server()
    ada = start_fastapi(fastapi_database(), opencode=first).visitor()
    message = ada.send(LONG)
    with ada.watch(message) as watched:
        watched.wait_for_text("four")
        first.kill() if hasattr(first, "kill") else first.stop()
        own_server(port=int(first.url.rpartition(":")[2]), password=first.password)
        held.set()
        state = watched.ended()
    assert state["status"] in ("failed", "completed")


def _expire(url, message):
    _execute(url, "UPDATE messages SET opencode_turn_lease = '2020-01-01' WHERE id = :id", message)


def _execute(url, statement, message):
    """The result of a statement about a message, in the chat's database."""
    import asyncio  # noqa: PLC0415 - for this one

    from sqlalchemy import text  # noqa: PLC0415 - likewise
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - likewise

    async def execute():
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            result = await connection.execute(text(statement), {"id": message})
        await engine.dispose()
        return result

    return asyncio.run(execute())
