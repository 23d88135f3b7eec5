"""The FastAPI chat in two processes that notify each other: one runs the turn, the browser is at the other one."""

from __future__ import annotations

import pytest

LONG = "!slow 0.05\n!say one two three four five six"


def test_a_browser_at_another_process_sees_the_text_and_few_rows_are_read(
    start_fastapi, fastapi_database, held, valkey
):
    url = fastapi_database("postgres")
    runs, shows = (start_fastapi(url, VALKEY_URL=valkey) for _ in range(2))
    ada = runs.visitor()
    message = ada.send(LONG)
    with ada.at(shows).watch(message) as watched:
        watched.wait_for_text("four")
        assert not watched.state["live"]
        held.set()
        state = watched.ended()
    assert (state["status"], watched.text) == ("completed", "one two three four five six")
    print(watched.events, shows.log.read_text())
    assert 0
