"""The text of a turn that changes hands never gets shorter, in the row and on the page, unless the server says so."""

from __future__ import annotations

import json
import threading

import pytest
from fix_cli import eventually
from sqlalchemy import text
from turn_observers import AtFirstWord
from turn_runners import run_turn

from opencode_sessions import Deadlines, Session, Turn, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

SAID = "one two three four five six"
STORY = f"!say {SAID}"
HALF = "one two three four"

# The database itself notes every version of an answer that it stores.
NOTEBOOK = [
    "CREATE TABLE IF NOT EXISTS versions (number INTEGER PRIMARY KEY, answer INTEGER, content TEXT, parts TEXT)",
    """CREATE TRIGGER IF NOT EXISTS note AFTER UPDATE ON answers BEGIN
           INSERT INTO versions (answer, content, parts) VALUES (new.id, new.content, new.parts);
       END""",
]


@pytest.fixture
def rows(make_bench):
    """Rows in a SQLite file, whose versions are noted."""
    bench = make_bench("sqlalchemy-sqlite-sync")
    with bench.engine.begin() as connection:
        for statement in NOTEBOOK:
            connection.execute(text(statement))
    yield bench
    with bench.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER note"))


def versions_of(rows, message):
    """Every text and list of parts that was stored, in order."""
    found = text("SELECT content, parts FROM versions WHERE answer = :key ORDER BY number")
    with rows.engine.connect() as connection:
        stored = connection.execute(found, {"key": rows.identity(message)}).all()
    return [content for content, _ in stored], [len(json.loads(parts)) for _, parts in stored]


def assert_never_shorter(rows, message):
    texts, parts = versions_of(rows, message)
    assert [len(each) for each in texts] == sorted(len(each) for each in texts), texts
    assert parts == sorted(parts)
    assert texts[-1].startswith(HALF)


def half_said(rows, server, runners, prompt=STORY):
    """A message whose runner was killed in the middle of the answer, and its record."""
    record, message = rows.record("Half said"), rows.message(prompt)
    runner = runners.start(rows, server, message, record, lease=1)
    eventually(lambda: rows.row(message)["content"].rstrip().endswith(HALF))
    runners.kill(runner)
    return record, message


def taken_up(rows, server, record, message, **limits):
    """A thread that runs the turn as soon as its lease has run out, and its result."""
    results = []
    options = {"when_busy": "wait", "deadlines": Deadlines(**limits)}

    def main():
        running = run_turn(
            rows, (server.url, server.password), rows.another(message), rows.another(record), **options
        )
        results.append(rows.run(running))

    thread = threading.Thread(target=main)
    thread.start()
    return thread, results


def wait_until_followed(rows, message):
    """Returns when the second runner has looked at the server and written to the row."""
    eventually(lambda: rows.row(message)["opencode_turn_epoch"] == 2)
    first = rows.row(message)["opencode_turn_lease"]
    eventually(lambda: rows.row(message)["opencode_turn_lease"] != first)


def test_an_answer_that_another_runner_takes_up_only_grows(rows, server, runners, held):
    record, message = half_said(rows, server, runners)
    thread, results = taken_up(rows, server, record, message, lease=1)
    wait_until_followed(rows, message)
    held.set()
    thread.join(60)
    assert (results[0].status, results[0].content) == (TurnStatus.COMPLETED, SAID)
    assert_never_shorter(rows, message)


@pytest.mark.full
def test_an_answer_that_another_runner_takes_up_is_kept_when_the_server_dies(rows, own_server, runners, held):
    server = own_server()
    record, message = half_said(rows, server, runners)
    thread, results = taken_up(rows, server, record, message, lease=1, unreachable=0.5)
    wait_until_followed(rows, message)
    server.kill()
    thread.join(60)
    assert results[0].status is TurnStatus.FAILED
    assert results[0].content.rstrip() == HALF
    assert_never_shorter(rows, message)


@pytest.mark.full
def test_an_answer_is_kept_until_a_fresh_session_has_given_another(rows, server, runners, held, client):
    record, message = half_said(rows, server, runners)
    client.delete(rows.row(message)["opencode_prompt_session_id"])
    held.set()
    thread, results = taken_up(rows, server, record, message, lease=1)
    thread.join(60)
    assert (results[0].status, results[0].content) == (TurnStatus.COMPLETED, SAID)
    assert all(each.startswith(HALF) for each in versions_of(rows, message)[0] if len(each) > len(HALF))


def test_what_was_shown_is_stored_when_the_process_ends(client, held):
    """Text is stored four times a second, and a page of the same process shows more than that."""
    message, shown = MemoryMessage(STORY), []

    def end_process():
        shown.append(message.state.content)
        raise SystemExit

    session = Session(MemoryRecord("Ends"), permissions_for=lambda _: [allow("*")])
    with pytest.raises(SystemExit):
        Turn(message, session, client, observer=AtFirstWord(end_process)).run()
    assert shown == [""]
    assert message.state.content.startswith("one")
    held.set()
