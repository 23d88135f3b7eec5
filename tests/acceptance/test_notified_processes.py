"""The FastAPI chat in several processes that notify each other: one runs the turn, browsers are at others."""

from __future__ import annotations

from itertools import pairwise

import httpx2
import pytest
from fix_fastapi import wait_until
from selection import sample

LONG = "!slow 0.05\n!say one two three four five six"

NOTIFIERS = pytest.mark.parametrize("notifier", sample(["valkey", "psycopg", "asyncpg"], "valkey"))


@pytest.fixture
def notified(start_fastapi, fastapi_database, own_valkey):
    """Call it for a process that serves the chat over one database, and counts."""
    url = fastapi_database("postgres")

    def start(notifier=None):
        if notifier is None:
            return start_fastapi(url, app="counted_chat:app")
        reach = own_valkey.url if notifier == "valkey" else url.replace("+asyncpg", f"+{notifier}")
        return start_fastapi(url, app="counted_chat:app", NOTIFIER_URL=reach)

    return start


def reads(process):
    return httpx2.get(f"{process.url}/reads", timeout=100).json()


@NOTIFIERS
def test_a_browser_at_another_process_sees_the_text_though_its_row_is_hardly_read(notified, held, notifier):
    runs, shows, polls = notified(notifier), notified(notifier), notified()
    ada = runs.visitor()
    message = ada.send(LONG)
    with ada.at(shows).watch(message) as watched, ada.at(polls).watch(message) as beside:
        for each in (watched, beside):
            each.wait_for_text("four")
            assert not each.state["live"]
        polled, read = reads(polls), reads(shows)
        wait_until(lambda: reads(polls) >= polled + 12)
        assert reads(shows) <= read + 4  # it looks every 15 s
        ada.at(shows)
        held.set()
        state = watched.ended()
        beside.ended()
    assert (state["status"], watched.text) == ("completed", "one two three four five six")


@pytest.mark.full
def test_the_page_is_right_though_the_broker_is_restarted(start_fastapi, fastapi_database, held, own_valkey):
    url = fastapi_database("postgres")
    runs, shows = (start_fastapi(url, NOTIFIER_URL=own_valkey.url) for _ in range(2))
    ada = runs.visitor()
    message = ada.send(LONG)
    with ada.at(shows).watch(message) as watched:
        watched.wait_for_text("four")
        own_valkey.stop()
        held.set()
        watched.wait_for_text("five")
        own_valkey.start()
        state = watched.ended()
    assert (state["status"], watched.text) == ("completed", "one two three four five six")
    for process in (runs, shows):
        assert process.log.read_text().count("cannot notify each other now") == 1


@pytest.mark.full
@NOTIFIERS
def test_a_turn_that_is_cancelled_at_another_process_ends_at_once_where_it_runs(notified, held, notifier):
    runs, cancels = notified(notifier), notified(notifier)
    ada = runs.visitor()
    message = ada.send(LONG)
    with ada.watch(message) as watched:
        watched.wait_for_text("four")
        assert watched.state["live"]
        assert ada.at(cancels).act(message, "cancel").status_code == 204
        state = watched.ended()
    held.set()
    assert (state["status"], watched.text) == ("cancelled", "one two three four")


@pytest.mark.full
def test_text_on_the_page_only_grows(notified):
    runs, shows = notified("valkey"), notified("valkey")
    ada, shown = runs.visitor(), []
    message = ada.send("!slow 0.02\n!say " + " ".join(map(str, range(100))))
    with ada.at(shows).watch(message) as watched:

        def grows(watched):
            shown.append(watched.text)
            return watched.end

        watched.wait(grows)
    assert all(after.startswith(before) for before, after in pairwise(shown))
    assert watched.text == " ".join(map(str, range(100)))
