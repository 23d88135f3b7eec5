"""What a turn does about a session that does not look as its row says: on the real server, nothing said is lost."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from selection import sample

from opencode_sessions import Pruner, Session, Turn, deny, errors
from opencode_sessions.protocol.permissions import from_json
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.sessions.spec import SessionSpec
from opencode_sessions.store.index import MemoryIndex
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord, MemoryRecordStore
from opencode_sessions.store.records import RecordState

RULES = [deny("webfetch")]


def session_of(record, **options):
    return Session(record, **{"permissions_for": lambda _: RULES, **options})


def say(client, record, text, **options):
    result = Turn(MemoryMessage(text), session_of(record, **options), client).run()
    assert result.status == "completed"


def prompts(client, session_id):
    """Oldest first."""
    found = [message for message in client.messages(session_id) if message.info.role == "user"]
    return [part["text"] for message in reversed(found) for part in message.parts if part["type"] == "text"]


def patches(carried):
    return sum(line.startswith("PATCH") for line in carried)


@pytest.fixture
def record(client):
    """A record with a turn."""
    record = MemoryRecord("Rome")
    say(client, record, "my name is Ada")
    return record


def moved(record):
    """The row as it is in another table, or in one of another name: it has another key."""
    other = MemoryRecord(record.title)
    other.state = record.state
    return other


def test_a_row_that_was_moved_keeps_its_conversation_and_the_session_is_told_once(client, carried, record):
    other = moved(record)
    first = other.opencode_session_id
    carried.clear()
    say(client, other, "what is my name?")
    say(client, other, "and yours?")
    assert patches(carried) == 1
    assert other.opencode_session_id == first
    assert prompts(client, first) == ["my name is Ada", "what is my name?", "and yours?"]
    assert client.get(first).metadata["record"] == f"memory:{other.number}"
    assert from_json(client.get(first).rules) == tuple(RULES)


@pytest.mark.parametrize("metadata", sample([{"customer": "7"}, {"namespace": "of another"}, {}]))
@pytest.mark.parametrize("rules", [RULES, []], ids=["rules", "no rules"])
def test_metadata_that_somebody_replaced_cost_no_conversation(client, metadata, rules):
    record = MemoryRecord("Rome")
    options = {"permissions_for": lambda _: rules}
    say(client, record, "my name is Ada", **options)
    session_id = record.opencode_session_id
    client.update(session_id, metadata=metadata)
    say(client, record, "what is my name?", **options)
    assert record.opencode_session_id == session_id
    assert prompts(client, session_id) == ["my name is Ada", "what is my name?"]
    ours = {"namespace": "opencode-sessions", "record": f"memory:{record.number}"}
    assert client.get(session_id).metadata == metadata | ours


def test_what_others_added_to_the_metadata_costs_nothing(client, carried, record):
    found = client.get(record.opencode_session_id)
    client.update(found.id, metadata={**found.metadata, "customer": "7"})
    carried.clear()
    say(client, record, "what is my name?")
    assert patches(carried) == 0
    assert client.get(found.id).metadata["customer"] == "7"


def test_a_row_of_another_namespace_by_now_is_safe_from_what_is_pruned_in_the_old_one(client, record):
    session_id = record.opencode_session_id
    say(client, record, "what is my name?", namespace="shop")
    assert record.opencode_session_id == session_id
    assert client.get(session_id).metadata["namespace"] == "shop"
    time.sleep(0.002)  # older than nothing at all is what was used a millisecond ago
    old = Pruner(MemoryIndex(), grace=timedelta(0))
    assert session_id not in {leftover.session_id for leftover in old.find(client)}


def test_a_copy_that_a_host_put_into_its_row_is_as_new_as_a_bare_session_and_keeps_what_was_said(
    client, record
):
    source = record.opencode_session_id
    client.update(source, metadata={})
    copy = client.fork(source)
    assert (copy.updated, copy.metadata, list(copy.rules)) == (copy.created, {}, [])
    adopting = MemoryRecord(copy.title)
    digest = SessionSpec.of(adopting, lambda _: RULES).digest()
    adopting.state = RecordState(copy.id, ready=True, digest=digest)
    say(client, adopting, "what is my name?")
    assert adopting.opencode_session_id == copy.id
    assert prompts(client, copy.id) == ["my name is Ada", "what is my name?"]
    assert from_json(client.get(copy.id).rules) == tuple(RULES)


def test_an_older_title_that_a_dead_worker_put_over_the_newer_one_is_put_right_and_no_rule_is_repeated(
    client, record
):
    client.update(record.opencode_session_id, title="Older")
    say(client, record, "what is my name?")
    found = client.get(record.opencode_session_id)
    assert (found.title, from_json(found.rules)) == ("Rome", tuple(RULES))


class Headlines:
    """A server that alters titles."""

    def __init__(self, client, meanwhile=lambda title: None):
        self._client, self._meanwhile = client, meanwhile
        self.updates = 0

    async def update(self, session_id, *, title, rules, metadata):
        self.updates += 1
        info = await self._client._core.update(
            session_id, title=title and title.upper(), rules=rules, metadata=metadata
        )
        self._meanwhile(title)
        return info

    def __getattr__(self, name):
        return getattr(self._client._core, name)


def current(record, wire):
    lifecycle = Lifecycle(MemoryRecordStore(record), permissions_for=lambda _: RULES)
    return run_sync(lifecycle.current(wire))[0]


def test_a_title_that_the_server_alters_is_tried_once_and_accepted(client, record):
    client.update(record.opencode_session_id, title="ROME")
    wire = Headlines(client)
    assert current(record, wire) == record.opencode_session_id
    assert wire.updates == 1
    found = client.get(record.opencode_session_id)
    assert (found.title, from_json(found.rules)) == ("ROME", tuple(RULES))


def test_a_title_that_changes_while_the_older_one_is_sent_is_the_one_in_the_end(client, record):
    def retitle(title):
        if title == "Rome":
            record.title = "Naples"
            assert session_of(record).reconcile(client)
            client.update(record.opencode_session_id, title=title)  # it is the slower one

    client.update(record.opencode_session_id, title="Older")
    current(record, Headlines(client, retitle))
    assert client.get(record.opencode_session_id).title == "NAPLES"


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("\ufeffRome", "Rome"),
        pytest.param("\ufeff\ufeffRome", "Rome", marks=pytest.mark.full),
        pytest.param("Ro\ud800me", "Ro\ufffdme", marks=pytest.mark.full),
        ("Ro\0me", "Ro\ufffdme"),
    ],
    ids=["a mark", "two marks", "half a pair", "NUL"],
)
def test_a_title_is_sent_as_the_server_shows_it(client, carried, title, shown):
    record = MemoryRecord(title)
    session_id = session_of(record).ensure(client)
    assert client.get(session_id).title == shown
    carried.clear()
    say(client, record, "hello")
    assert record.opencode_session_id == session_id
    assert patches(carried) == 0


@pytest.mark.parametrize("directory", ["/srv/\udcff", "/srv/a\0b"], ids=["half a pair", "NUL"])
def test_a_directory_that_cannot_be_told_is_refused_before_anything_happens(client, carried, directory):
    record = MemoryRecord(directory=directory)
    with pytest.raises(errors.ConfigurationError, match="cannot be told to a server"):
        Session(record).ensure(client)
    assert (carried, record.opencode_session_id) == ([], None)
