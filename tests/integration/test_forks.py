"""A record that begins as a copy of another one's session: on the real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import anyio
import pytest

from opencode_sessions import Session, Turn, aio, allow, ask, deny, errors
from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord, MemoryRecordStore
from opencode_sessions.wire.v1 import calls as v1
from opencode_sessions.wire.v2 import calls as v2

pytestmark = pytest.mark.lines


def session_of(record, *rules):
    return Session(record, permissions_for=lambda _: rules or [allow("*")])


def say(client, record, prompt):
    return Turn(MemoryMessage(prompt), session_of(record), client).run()


def prompts(client, session_id):
    """Oldest first."""
    found = [message for message in client.messages(session_id) if message.info.role == "user"]
    return [part["text"] for message in reversed(found) for part in message.parts if part["type"] == "text"]


@pytest.fixture
def source(client):
    """A record with two turns; the second turn's result stands on it."""
    record = MemoryRecord("The first way")
    say(client, record, "one")
    record.second = say(client, record, "two")
    return record


def test_a_copy_has_the_messages_before_the_one_that_is_named_and_goes_its_own_way(client, source):
    record = MemoryRecord("Another way")
    session = session_of(record, ask("bash"))
    copy = session.fork(client, source.opencode_session_id, before=source.second.prompt_id)
    assert (record.opencode_session_id, session.just_created) == (copy, True)
    assert prompts(client, copy) == ["one"]
    say(client, record, "something else")
    assert prompts(client, copy) == ["one", "something else"]
    assert prompts(client, source.opencode_session_id) == ["one", "two"]


def test_a_message_that_the_session_does_not_have_is_refused_and_nothing_is_copied(client, source):
    record = MemoryRecord("Another way")
    before = {info.id for info in client.list(all_directories=True)}
    with pytest.raises(errors.NotFoundError):
        session_of(record).fork(client, source.opencode_session_id, before=new_message_id())
    assert record.opencode_session_id is None
    assert {info.id for info in client.list(all_directories=True)} == before


@pytest.mark.lines("v1")  # the other has no structured answers
def test_a_prompt_that_the_server_cannot_show_is_one_that_it_has(client):
    source, record = MemoryRecord("The first way"), MemoryRecord("Another way")
    say(client, source, "one")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    message = MemoryMessage('!tool StructuredOutput {"city": "Lisbon"}')
    second = Turn(message, session_of(source), client, schema=schema).run()
    copy = session_of(record).fork(client, source.opencode_session_id, before=second.prompt_id)
    assert prompts(client, copy) == ["one"]


def test_a_copy_is_guarded_by_the_rules_of_its_own_record(client, source):
    record = MemoryRecord("Another way")
    copy = session_of(record, deny("bash")).fork(client, source.opencode_session_id)
    info = client.get(copy)
    assert (info.title, info.metadata["record"]) == ("Another way", f"memory:{record.number}")
    assert [rule["action"] for rule in info.rules] == ["deny"]
    assert prompts(client, copy) == ["one", "two"]


def test_a_record_that_has_a_session_keeps_it(client, source):
    record = MemoryRecord("Another way")
    session = session_of(record)
    first = session.fork(client, source.opencode_session_id)
    assert session.fork(client, source.opencode_session_id) == first
    assert not session.just_created


def test_what_cannot_be_copied_leaves_the_row_as_it_was(client):
    record = MemoryRecord("Another way")
    with pytest.raises(errors.SessionNotFoundError):
        session_of(record).fork(client, "ses_000000000000000000000000")
    assert record.opencode_session_id is None


def test_of_two_who_copy_at_once_one_wins_and_the_others_copy_is_gone(client, source, monkeypatch):
    record = MemoryRecord("Another way")
    made = []

    async def fork(self, *ids):
        info = await forked(self, *ids)
        made.append(info.id)
        if len(made) == 1:
            session_of(record).fork(client, source.opencode_session_id)
        return info

    forked = type(client._core).fork
    monkeypatch.setattr(type(client._core), "fork", fork)
    assert session_of(record).fork(client, source.opencode_session_id) == made[1]
    assert record.opencode_session_id == made[1]
    assert {info.id for info in client.list()} & set(made) == {made[1]}


def test_a_copy_whose_maker_died_is_finished_by_the_next_caller(client, source, monkeypatch):
    record = MemoryRecord("Another way")

    class Died(BaseException):
        pass

    async def die(*_, **__):
        raise Died

    session = session_of(record)
    monkeypatch.setattr(session.lifecycle, "_put_in_force", die)
    with pytest.raises(Died):
        session.fork(client, source.opencode_session_id)
    assert not record.state.ready
    assert session_of(record).ensure(client) == record.opencode_session_id
    assert prompts(client, record.opencode_session_id) == ["one", "two"]
    assert client.get(record.opencode_session_id).rules


class DatabaseAwayError(Exception):
    pass


class Fails(MemoryRecordStore):
    """Raises when the copy is to be written into the row, or right after that."""

    def __init__(self, record, error, *, committed):
        super().__init__(record)
        self.error, self.committed = error, committed

    async def reserve(self, expected, session_id, *, server=None):
        if self.committed:
            await super().reserve(expected, session_id, server=server)
        raise self.error


@pytest.mark.parametrize("error", [DatabaseAwayError, KeyboardInterrupt])
def test_a_copy_is_deleted_if_any_error_keeps_it_out_of_the_row(client, source, error):
    record = MemoryRecord("Another way")
    before = {info.id for info in client.list(all_directories=True)}
    with pytest.raises(error):
        Session(record, store=Fails(record, error, committed=False)).fork(client, source.opencode_session_id)
    assert record.opencode_session_id is None
    assert {info.id for info in client.list(all_directories=True)} == before


def test_a_copy_that_the_row_names_is_kept_although_the_write_raised(client, source):
    record = MemoryRecord("Another way")
    store = Fails(record, DatabaseAwayError, committed=True)
    with pytest.raises(DatabaseAwayError):
        Session(record, store=store).fork(client, source.opencode_session_id)
    copy = record.opencode_session_id
    assert session_of(record).ensure(client) == copy
    assert prompts(client, copy) == ["one", "two"]


def test_a_fork_is_completed_although_its_task_is_cancelled_again_and_again(server, client, source):
    record = MemoryRecord("Another way")
    before = {info.id for info in client.list(all_directories=True)}

    async def main():
        async with aio.Client(server.url, password=server.password) as fellow:
            forked = fellow.fork
            with anyio.CancelScope() as scope:

                async def fork(*ids):
                    scope.cancel()
                    return await forked(*ids)

                fellow.fork = fork
                await aio.Session(record).fork(fellow, source.opencode_session_id)
            assert scope.cancelled_caught

    asyncio.run(main())
    assert {info.id for info in client.list(all_directories=True)} == before | {record.opencode_session_id}
    assert record.state.ready


def test_asyncio_copies_too(server, client, source):
    record = MemoryRecord("Another way")

    async def main():
        async with aio.Client(server.url, password=server.password) as fellow:
            session = aio.Session(record, permissions_for=lambda _: [allow("*")])
            return await session.fork(fellow, source.opencode_session_id)

    assert prompts(client, asyncio.run(main())) == ["one", "two"]


def test_a_copy_works_in_the_directory_of_its_own_record(client, tmp_path):
    source, record = (MemoryRecord(name, directory=str(tmp_path / name)) for name in ("first", "other"))
    for each in (source, record):
        (tmp_path / each.title).mkdir()
        (tmp_path / each.title / "where.txt").write_text(f"in the {each.title} folder")
    say(client, source, "one")
    copy = session_of(record).fork(client, source.opencode_session_id)
    told = say(client, record, '!tool read {"filePath": "where.txt"}\n!say read')
    assert "in the other folder" in str(told.parts)
    assert client.get(copy).directory == str(tmp_path / "other")
    assert client.get(source.opencode_session_id).directory == str(tmp_path / "first")
    assert prompts(client, copy)[0] == "one"


def test_a_copy_that_the_server_cannot_move_is_deleted_and_the_row_names_none(client, tmp_path, monkeypatch):
    source, record = MemoryRecord("first"), MemoryRecord("other", directory=str(tmp_path))
    say(client, source, "one")
    before = {info.id for info in client.list(all_directories=True)}

    def without_the_route(move):
        def call(*given):
            made = move(*given)
            return replace(made, request=replace(made.request, path="/not/yet"))

        return call

    for calls in (v1, v2):  # as on an older release
        monkeypatch.setattr(calls, "move", without_the_route(calls.move))
    with pytest.raises(errors.WireError):
        session_of(record).fork(client, source.opencode_session_id)
    assert record.opencode_session_id is None
    assert {info.id for info in client.list(all_directories=True)} == before
