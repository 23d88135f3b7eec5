"""What changed in the record since is put in force again, once: on the real server."""

from __future__ import annotations

import itertools

import pytest
from wires import InTwoRequests

from opencode_sessions import Session, Turn, allow, ask, deny, errors, evaluate
from opencode_sessions.protocol.permissions import from_json
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord, MemoryRecordStore

pytestmark = pytest.mark.lines


class Trip(MemoryRecord):
    """A record whose rules can change."""

    def __init__(self, *rules, title="Lisbon", directory=None):
        super().__init__(title, directory=directory)
        self.rules = list(rules)


def session_of(trip, **options):
    return Session(trip, **{"permissions_for": lambda trip: trip.rules, **options})


def rules_of(client, session_id):
    return from_json(client.get(session_id).rules)


@pytest.fixture
def trip():
    return Trip(deny("bash"), allow("edit", "docs/*"))


def test_nothing_changed_costs_no_request(client, carried, trip):
    session = session_of(trip)
    session.ensure(client)
    carried.clear()
    assert session.reconcile(client) is False
    assert session_of(trip).reconcile(client) is False
    assert carried == []


def test_a_record_without_a_session_has_nothing_to_reconcile(client, carried, trip):
    assert session_of(trip).reconcile(client) is False
    assert carried == []


def test_a_title_that_was_emptied_leaves_the_sessions(client, trip):
    session = session_of(trip)
    session_id = session.ensure(client)
    trip.title = ""
    assert session.reconcile(client) is True
    assert session.reconcile(client) is False
    assert client.get(session_id).title == "Lisbon"


def test_changed_rules_and_title_are_put_in_force_once(client, carried, trip, line):
    session = session_of(trip)
    session_id = session.ensure(client)
    trip.title, trip.rules = "Porto", [deny("*"), allow("read")]
    carried.clear()
    assert session.reconcile(client) is True
    assert session_of(trip).reconcile(client) is False
    root = "/session" if line == "v1" else "/api/session"
    assert [each for each in carried if "GET" not in each] == [f"PATCH {root}/{session_id}"]
    found = client.get(session_id)
    assert found.title == "Porto"
    assert from_json(found.rules)[-2:] == tuple(trip.rules)
    assert found.metadata["record"] == session.lifecycle.store.key


@pytest.mark.lines("v1")  # which forgets no rule that it was given
def test_what_is_not_allowed_any_more_is_put_to_ask(client, trip):
    session = session_of(trip)
    session_id = session.ensure(client)
    trip.rules = [deny("bash"), allow("read")]
    session.reconcile(client)
    in_force = [allow("*"), *rules_of(client, session_id)]  # as the default agent's own rules begin
    assert evaluate(in_force, "edit", "docs/index.md") == "ask"
    assert evaluate(in_force, "edit", "other.md") == "allow"
    assert evaluate(in_force, "bash", "rm -rf /") == "deny"
    assert evaluate(in_force, "read", "anything") == "allow"


@pytest.mark.lines("v1")  # likewise
def test_rules_that_go_back_and_forth_do_not_pile_up_more_than_themselves(client, trip):
    session = session_of(trip)
    session_id = session.ensure(client)
    before, after = trip.rules, [ask("webfetch")]
    lengths = []
    for _ in range(3):
        for trip.rules in (after, before):
            session.reconcile(client)
        lengths.append(len(rules_of(client, session_id)))
    steps = {later - earlier for earlier, later in itertools.pairwise(lengths)}
    assert steps == {len(before) + len(after) + len([ask("edit", "docs/*"), *after])}
    assert evaluate(rules_of(client, session_id), "edit", "docs/a") == "allow"


def test_a_session_that_says_nothing_of_rules_leaves_them_as_they_are(client, trip):
    session_id = session_of(trip).ensure(client)
    before = rules_of(client, session_id)
    plain = Session(trip)
    assert plain.reconcile(client) is False
    trip.title = "Porto"
    assert plain.reconcile(client) is True
    assert client.get(session_id).title == "Porto"
    assert rules_of(client, session_id) == before
    assert session_of(trip).reconcile(client) is False


def test_rules_that_come_later_are_put_in_force_then(client, trip):
    session_id = Session(trip).ensure(client)
    assert session_of(trip).reconcile(client) is True
    assert rules_of(client, session_id) == tuple(trip.rules)


def test_a_turn_reconciles_by_itself_and_the_agent_is_held_to_it(client, trip, line):
    session = session_of(trip)
    session.ensure(client)
    trip.rules = [deny("edit"), allow("bash")]
    write = '!tool write {"filePath": "docs/a.md", "content": "hello"}'
    result = Turn(MemoryMessage(write), session, client).run()
    # A tool that is denied as a whole is not even shown.
    assert (result.tools[0]["tool"], result.tools[0]["status"]) == (
        ("invalid", "completed") if line == "v1" else ("write", "error")
    )


def test_two_that_saw_different_rules_end_on_what_the_record_says(client, trip):
    session_of(trip).ensure(client)
    trip.rules = [deny("webfetch")]

    class Slow:
        """Between its look at the record and its PATCH the record changes, and another puts that in force."""

        def __getattr__(self, name):
            if name == "update" and trip.rules == [deny("webfetch")]:
                trip.rules = [allow("webfetch")]
                assert session_of(trip).reconcile(client)
            return getattr(client._core, name)

    lifecycle = Lifecycle(MemoryRecordStore(trip), permissions_for=lambda trip: trip.rules)
    with pytest.raises(StopIteration):
        lifecycle.reconcile(Slow()).send(None)
    assert evaluate(rules_of(client, trip.opencode_session_id), "webfetch", "x") == "allow"
    assert session_of(trip).reconcile(client) is False


def test_a_helper_that_saw_older_rules_mends_what_it_put_over_the_newer_ones(client, trip):
    class Slow(InTwoRequests):
        def __getattr__(self, name):
            if name == "update" and trip.rules[0] == deny("bash"):
                trip.rules = [allow("bash")]
                session_of(trip).ensure(client)
            return getattr(client._core, name)

    lifecycle = Lifecycle(MemoryRecordStore(trip), permissions_for=lambda trip: trip.rules)
    with pytest.raises(StopIteration):
        lifecycle.ensure(Slow()).send(None)
    assert evaluate(rules_of(client, trip.opencode_session_id), "bash", "ls") == "allow"
    assert session_of(trip).reconcile(client) is False


def test_a_session_that_is_gone_is_said_and_a_turn_makes_a_fresh_one(client, trip):
    session = session_of(trip)
    gone = session.ensure(client)
    client.delete(gone)
    trip.title = "Porto"
    with pytest.raises(errors.SessionNotFoundError):
        session.reconcile(client)
    result = Turn(MemoryMessage("!say hello"), session, client).run()
    assert result.content == "hello"
    assert trip.opencode_session_id != gone


def test_rules_that_the_server_does_not_show_leave_the_session_unready(client, trip):
    class Deaf(InTwoRequests):
        async def update(self, session_id, *, title, rules, metadata):
            return await client._core.update(session_id, title=title, metadata=metadata)

        def __getattr__(self, name):
            return getattr(client._core, name)

    lifecycle = Lifecycle(MemoryRecordStore(trip), permissions_for=lambda trip: trip.rules)
    with pytest.raises(errors.NotGuardedError, match="nobody may prompt it") as caught:
        lifecycle.ensure(Deaf()).send(None)
    assert caught.value.session_id == trip.opencode_session_id
    assert not trip.state.ready
