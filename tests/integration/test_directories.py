"""A record may say in which directory its session lives; a session that lives elsewhere is noticed."""

from __future__ import annotations

import httpx2
import pytest

from opencode_sessions import Client, Session, Turn, errors
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

pytestmark = pytest.mark.lines


@pytest.fixture
def folders(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def record(folders):
    return MemoryRecord("A trip", directory=str(folders / "here"))


def move(server, session_id, directory):
    body = {"sessionID": session_id, "destination": {"directory": str(directory)}}
    auth = (server.username, server.password)
    path = f"{server.url}/experimental/control-plane/move-session"
    httpx2.post(path, json=body, auth=auth, trust_env=False, timeout=100).raise_for_status()


def test_the_session_is_made_where_its_record_says(client, record):
    assert client.get(Session(record).ensure(client)).directory == record.opencode_directory


def test_without_a_word_of_the_record_the_client_decides(server, folders):
    with Client(server.url, password=server.password, directory=str(folders / "there")) as client:
        assert client.get(Session(MemoryRecord()).ensure(client)).directory == str(folders / "there")


def test_the_agent_works_there(client, record, folders):
    write = '!tool write {"filePath": "note.md", "content": "hello"}'
    Turn(MemoryMessage(write), Session(record), client).run()
    assert (folders / "here" / "note.md").read_text() == "hello"


@pytest.mark.lines("v1")  # the stand-in moves none
def test_a_session_that_the_server_moved_is_noticed_by_the_next_turn(server, client, record, folders):
    session_id = Session(record).ensure(client)
    move(server, session_id, folders / "there")
    message = MemoryMessage("hello")
    with pytest.raises(errors.SessionMovedError, match="moved it") as caught:
        Turn(message, Session(record), client).run()
    assert (caught.value.session_id, caught.value.expected, caught.value.found) == (
        session_id,
        str(folders / "here"),
        str(folders / "there"),
    )
    assert message.state.status == "pending"


def test_a_record_that_says_another_directory_by_now_is_noticed_by_reconcile(client, record, folders):
    session = Session(record)
    session.ensure(client)
    record.opencode_directory = str(folders / "there")
    for _ in range(2):
        with pytest.raises(errors.SessionMovedError, match="the record says"):
            session.reconcile(client)
    session.delete(client)
    assert client.get(session.ensure(client)).directory == str(folders / "there")


def test_recreate_makes_it_in_the_directory_that_the_record_says_by_now(client, record, folders):
    session = Session(record)
    session.ensure(client)
    record.opencode_directory = folders / "there"
    assert client.get(session.recreate(client)).directory == str(folders / "there")


@pytest.mark.lines("v1")  # which says nothing by itself
def test_a_directory_that_does_not_exist_is_named_at_once_and_can_be_made(client, carried, folders):
    record = MemoryRecord(directory=str(folders / "late"))
    result = Turn(MemoryMessage("hello"), Session(record), client).run()
    assert result.error["name"] == "ConfigurationError"
    assert f"works in {folders / 'late'}, which the server cannot open: make that" in result.error["message"]
    assert len([each for each in carried if each.endswith("/prompt_async")]) == 1
    (folders / "late").mkdir()
    assert Turn(MemoryMessage("hello"), Session(record), client).run().error is None


@pytest.mark.parametrize("wrong", ["relative/path", 7, b"/tmp"])
def test_what_is_no_absolute_path_is_refused_before_anything_is_sent(client, carried, wrong):
    record = MemoryRecord(directory=wrong)
    with pytest.raises(errors.ConfigurationError, match="opencode_directory"):
        Session(record).ensure(client)
    assert carried == []
