from __future__ import annotations

import threading

import pytest

from opencode_sessions import ConfigurationError
from opencode_sessions.cli.database import Database


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/chat.sqlite3"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "cannot be read"),
        ("postgresql://u:hunter2@host:port/x", "cannot be read"),
        ("sqlite://", "in memory"),
        ("sqlite:////nowhere/at/all.sqlite3", "unable to open database file"),
        ("sqlite+aiosqlite:///x.sqlite3", "asynchronous driver"),
        ("nosuch://u:hunter2@host/x", "knows no database 'nosuch'"),
        ("mssql+pymssql://u:hunter2@127.0.0.1/x", "pip install pymssql"),
        ("postgresql+psycopg2://u:hunter2@127.0.0.1/x", r"pip install 'psycopg\[binary\]'"),
        ("postgresql+psycopg://u:hunter2@127.0.0.1:1/x", "connection failed"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(url, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_conversation_of_a_name_is_made_once(url):
    with Database(url) as first, Database(url) as second:
        assert first.conversation("trip").id == second.conversation("trip").id
        assert first.conversation("other").id != first.conversation("trip").id


def test_two_that_open_a_new_database_at_once_find_one_conversation(url):
    barrier, found, errors = threading.Barrier(4), [], []

    def open_it():
        barrier.wait()
        try:
            with Database(url) as database:
                found.append(database.conversation("trip").id)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == [1] * 4


def test_messages_come_in_order_and_belong_to_their_conversation(url):
    with Database(url) as database:
        trip, other = database.conversation("trip"), database.conversation("other")
        for conversation, prompt in ((trip, "one"), (other, "two"), (trip, "three")):
            database.add_message(conversation, prompt)
        assert [message.prompt for message in database.messages(trip)] == ["one", "three"]
        assert database.count_messages(other) == 1
