"""Promises 1 to 4 and 8 on the real server, over the in-memory record: threads, and a crash at every step."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import pytest
from selection import sample
from wires import InTwoRequests

from opencode_sessions import Client, Observer, Session, Turn, allow, ask, deny, errors, new_session_id
from opencode_sessions.runtime import threads
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord, MemoryRecordStore
from opencode_sessions.store.records import RecordState

pytestmark = pytest.mark.lines

RULES = [allow("edit", "docs/*"), deny("bash"), ask("webfetch")]


def rules(_):
    return RULES


@pytest.fixture
def record():
    return MemoryRecord("A trip to Lisbon")


def key(record):
    return f"memory:{record.number}"


def test_a_new_session_has_the_title_the_rules_and_the_record(client, record):
    session = Session(record, permissions_for=rules, namespace="shop")
    session_id = session.ensure(client)
    assert session.just_created
    found = client.get(session_id)
    assert found.title == "A trip to Lisbon"
    assert [dict(rule) for rule in found.rules] == [
        {"permission": "edit", "pattern": "docs/*", "action": "allow"},
        {"permission": "bash", "pattern": "*", "action": "deny"},
        {"permission": "webfetch", "pattern": "*", "action": "ask"},
    ]
    assert found.metadata == {"namespace": "shop", "record": key(record)}


def test_a_session_that_is_there_costs_no_request(client, carried, record):
    session_id = Session(record).ensure(client)
    carried.clear()
    again = Session(record)
    assert again.ensure(client) == session_id
    assert not again.just_created
    assert carried == []


def requests_of_a_new(session_id, line):
    return ["POST /api/session", *([f"PATCH /session/{session_id}"] if line == "v1" else [])]


def test_a_new_session_costs_two_requests_and_one_where_the_server_takes_all_at_once(
    client, carried, record, line
):
    session_id = Session(record, permissions_for=rules).ensure(client)
    assert carried == requests_of_a_new(session_id, line)


def test_permissions_for_is_asked_only_when_a_session_is_made(client, record):
    asked = []
    session = Session(record, permissions_for=lambda row: asked.append(row) or RULES)
    session.ensure(client)
    session.ensure(client)
    assert asked == [record]


def together(count, call):
    barrier = threading.Barrier(count)

    def run(_):
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_many_threads_get_one_session_and_one_of_them_made_it(client, sessions_of, record):
    def ensure():
        session = Session(record, permissions_for=rules)
        return session.ensure(client), session.just_created

    results = together(16, ensure)
    assert len({session_id for session_id, _ in results}) == 1
    assert [created for _, created in results].count(True) == 1
    (found,) = sessions_of(key(record))
    assert found.id == results[0][0]


class Waiting:
    """A wire whose clock, when one waits by it, lets something else happen instead."""

    def __init__(self, client, meanwhile):
        self._client, self._meanwhile = client, meanwhile
        self.clock = self

    def __getattr__(self, name):
        return getattr(self._client._core, name)

    async def sleep(self, seconds):
        self._meanwhile()

    def in_turn(self, key):
        return nullcontext()


def test_who_meets_a_reservation_gives_its_maker_a_moment_and_sends_nothing(client, carried, record):
    record.state = RecordState(new_session_id())

    def make():
        record.state = replace(record.state, ready=True, digest="of another")

    lifecycle = Lifecycle(MemoryRecordStore(record), permissions_for=rules)
    with pytest.raises(StopIteration) as ended:
        lifecycle.ensure(Waiting(client, make)).send(None)
    assert ended.value.value == record.opencode_session_id
    assert not lifecycle.just_created
    assert carried == []


def test_who_meets_the_reservation_of_a_dead_worker_helps_after_that_moment(client, record):
    record.state = RecordState(new_session_id())
    looks = []
    lifecycle = Lifecycle(MemoryRecordStore(record), permissions_for=rules)
    with pytest.raises(StopIteration):
        lifecycle.ensure(Waiting(client, lambda: looks.append(1))).send(None)
    assert lifecycle.just_created
    assert len(looks) > 1
    assert len(client.get(record.opencode_session_id).rules) == len(RULES)


def test_concurrent_recreates_converge_and_the_old_session_is_gone(client, sessions_of, record):
    stale = Session(record).ensure(client)

    def recreate():
        session = Session(record)
        return session.recreate(client, stale=stale), session.just_created

    results = together(12, recreate)
    (fresh,) = {session_id for session_id, _ in results}
    assert fresh != stale
    assert [created for _, created in results].count(True) == 1
    assert [found.id for found in sessions_of(key(record))] == [fresh]


def test_recreate_goes_from_what_this_object_last_returned(client, record):
    session = Session(record)
    first = session.ensure(client)
    second = session.recreate(client)
    third = session.recreate(client)
    assert len({first, second, third}) == 3


def test_recreate_of_what_was_replaced_already_is_found(client, record):
    session = Session(record)
    stale = session.ensure(client)
    fresh = session.recreate(client)
    late = Session(record)
    assert late.recreate(client, stale=stale) == fresh
    assert not late.just_created


def test_what_was_reserved_and_never_made_is_superseded(client, record):
    reserved = new_session_id()
    record.state = RecordState(reserved)
    session = Session(record)
    assert session.ensure(client) == record.opencode_session_id != reserved
    assert session.just_created


def test_recreate_of_what_was_made_and_never_guarded_finishes_it(client, record):
    reserved = new_session_id()
    client.create(reserved)
    record.state = RecordState(reserved)
    session = Session(record, permissions_for=rules)
    assert session.recreate(client) == reserved
    assert session.just_created
    assert len(client.get(reserved).rules) == len(RULES)


def test_recreate_without_a_session_is_ensure(client, record):
    session = Session(record)
    assert session.recreate(client) == record.opencode_session_id
    assert session.just_created


class Crash(BaseException):
    """The worker dies here."""


class Dying(InTwoRequests):
    """Passes calls on until the nth, and dies before or after it."""

    def __init__(self, target, steps, at, *, after):
        self._target = target
        self._steps = steps
        self._at = at
        self._after = after

    def __getattr__(self, name):
        attribute = getattr(self._target, name)
        if name not in ("load", "read", "reserve", "confirm", "create", "update", "delete", "stop"):
            return attribute

        async def call(*args, **kwargs):
            self._steps.append(name)
            dies = len(self._steps) == self._at
            if dies and not self._after:
                raise Crash
            result = await attribute(*args, **kwargs)
            if dies:
                raise Crash
            return result

        return call


def crash_at(client, record, step, *, after, stale=None):
    """Ensure (or recreate) and die at a step; the names of the steps that were begun."""
    steps = []
    store = Dying(MemoryRecordStore(record), steps, step, after=after)
    lifecycle = Lifecycle(store, permissions_for=rules)
    wire = Dying(client._core, steps, step, after=after)
    walk = lifecycle.ensure(wire) if stale is None else lifecycle.recreate(wire, stale=stale)
    try:
        walk.send(None)
    except (StopIteration, Crash):
        return steps
    raise AssertionError("it suspended")


STEPS_OF_ENSURE = ["load", "read", "reserve", "create", "update", "confirm"]
STEPS_OF_RECREATE = [*STEPS_OF_ENSURE, "stop", "delete"]


def test_the_steps_are_these(client):
    record = MemoryRecord("steps")
    assert crash_at(client, record, 0, after=False) == STEPS_OF_ENSURE
    stale = record.opencode_session_id
    assert crash_at(client, record, 0, after=False, stale=stale) == STEPS_OF_RECREATE


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, len(STEPS_OF_ENSURE) + 1), ids=STEPS_OF_ENSURE)
def test_a_crash_at_any_step_of_ensure_is_finished_by_the_next_caller(
    client, sessions_of, record, step, after
):
    crash_at(client, record, step, after=after)
    named = record.opencode_session_id
    session_id = Session(record, permissions_for=rules).ensure(client)
    was_made = (step, after) >= (STEPS_OF_ENSURE.index("create") + 1, True)
    assert (named == session_id) == was_made
    (found,) = sessions_of(key(record))
    assert found.id == session_id
    assert len(found.rules) >= len(RULES)
    assert record.state.ready


@pytest.mark.parametrize("after", sample([False, True], True), ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, len(STEPS_OF_RECREATE) + 1), ids=STEPS_OF_RECREATE)
def test_a_crash_at_any_step_of_recreate_leaves_one_fresh_session(client, sessions_of, record, step, after):
    stale = Session(record, permissions_for=rules).ensure(client)
    crash_at(client, record, step, after=after, stale=stale)
    fresh = Session(record, permissions_for=rules).recreate(client, stale=stale)
    assert fresh != stale
    assert client.get(fresh).metadata["record"] == key(record)
    # What a crash before the deletion leaves is the one that the row named before, and no other.
    assert {found.id for found in sessions_of(key(record))} <= {fresh, stale}


class Unreachable(InTwoRequests):
    """A wire on which one call fails once, having had its effect or not."""

    def __init__(self, target, name, *, after):
        self._target, self._name, self._after, self.failed = target, name, after, False

    def __getattr__(self, name):
        attribute = getattr(self._target, name)
        if name != self._name or self.failed:
            return attribute

        async def call(*args, **kwargs):
            self.failed = True
            if self._after:
                await attribute(*args, **kwargs)
            raise errors.ConnectionLostError("cut")

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["create", "update"])
def test_a_failed_request_is_raised_and_the_next_call_goes_on_from_there(
    client, sessions_of, record, name, after
):
    lifecycle = Lifecycle(MemoryRecordStore(record), permissions_for=rules)
    with pytest.raises(errors.ConnectionLostError):
        lifecycle.ensure(Unreachable(client._core, name, after=after)).send(None)
    assert not record.state.ready
    reserved = record.opencode_session_id
    session_id = Session(record, permissions_for=rules).ensure(client)
    assert (session_id == reserved) == (name == "update" or after)  # what was made is finished
    assert [found.id for found in sessions_of(key(record))] == [session_id]


def test_who_reserved_an_id_makes_it_when_he_tries_again(client, record):
    lifecycle = Lifecycle(MemoryRecordStore(record), permissions_for=rules)
    with pytest.raises(errors.ConnectionLostError):
        lifecycle.ensure(Unreachable(client._core, "create", after=False)).send(None)
    reserved = record.opencode_session_id
    with pytest.raises(StopIteration) as ended:
        lifecycle.ensure(client._core).send(None)
    assert ended.value.value == reserved


class Late(Unreachable):
    """A server that answers a request to create too late: what happens meanwhile comes before the time-out."""

    def __init__(self, target, meanwhile):
        super().__init__(target, "create", after=False)
        self._meanwhile = meanwhile

    def __getattr__(self, name):
        attribute = getattr(self._target, name)
        if name != "create":
            return attribute

        async def create(session_id, **options):
            await attribute(session_id, **options)
            await self._meanwhile(session_id)
            raise errors.RequestTimedOutError("no answer in time")

        return create


def test_a_session_that_is_superseded_while_its_creation_times_out_is_deleted(client, record):
    made = []

    async def supersede(session_id):
        made.append(session_id)
        await MemoryRecordStore(record).supersede(session_id, new_session_id())

    with pytest.raises(errors.RequestTimedOutError):
        Lifecycle(MemoryRecordStore(record)).ensure(Late(client._core, supersede)).send(None)
    with pytest.raises(errors.SessionNotFoundError):
        client.get(made[0])


def test_a_caller_that_superseded_an_id_and_then_fails_deletes_what_its_slow_maker_made(client, record):
    reserved = new_session_id()
    record.state = RecordState(reserved)

    async def the_maker_creates(_):
        await client._core.create(reserved, directory=None)

    with pytest.raises(errors.RequestTimedOutError):
        Lifecycle(MemoryRecordStore(record)).ensure(Late(client._core, the_maker_creates)).send(None)
    assert record.opencode_session_id != reserved
    with pytest.raises(errors.SessionNotFoundError):
        client.get(reserved)


def test_a_retry_that_finds_another_session_deletes_what_its_failed_request_made(client, record, sessions_of):
    async def nothing(_):
        pass

    lifecycle = Lifecycle(MemoryRecordStore(record))
    with pytest.raises(errors.RequestTimedOutError):
        lifecycle.ensure(Late(client._core, nothing)).send(None)
    made, record.state = record.opencode_session_id, RecordState()
    other = Session(record).ensure(client)
    with pytest.raises(StopIteration) as ended:
        lifecycle.ensure(client._core).send(None)
    assert ended.value.value == other
    with pytest.raises(errors.SessionNotFoundError):
        client.get(made)


def test_what_clean_up_swallowed_is_reported_once_with_its_context(client, record):
    stale = Session(record).ensure(client)
    reported = []
    lifecycle = Lifecycle(MemoryRecordStore(record), on_error=lambda *what: reported.append(what))
    with pytest.raises(StopIteration):
        lifecycle.recreate(Unreachable(client._core, "delete", after=False), stale=stale).send(None)
    ((error, context),) = reported
    assert isinstance(error, errors.ConnectionLostError)
    assert (context.action, context.record, context.session_id) == ("delete_replaced", key(record), stale)


def test_a_row_that_vanished_meanwhile_leaves_no_session_behind(client, sessions_of, record):
    class Vanishing(Unreachable):
        def __getattr__(self, name):
            if name == "update":
                record.deleted = True
            return getattr(self._target, name)

    lifecycle = Lifecycle(MemoryRecordStore(record), permissions_for=rules)
    with pytest.raises(errors.RecordGoneError):
        lifecycle.ensure(Vanishing(client._core, "", after=False)).send(None)
    assert sessions_of(key(record)) == []


def test_a_slow_helper_of_a_session_that_was_replaced_deletes_what_it_made_again(client, sessions_of, record):
    class Overtaken(Unreachable):
        def __getattr__(self, name):
            if name == "create" and not self.failed:
                self.failed = True
                healthy = Session(record)
                healthy.recreate(client, stale=healthy.ensure(client))
            return getattr(self._target, name)

    lifecycle = Lifecycle(MemoryRecordStore(record))
    with pytest.raises(StopIteration) as ended:
        lifecycle.ensure(Overtaken(client._core, "", after=False)).send(None)
    assert ended.value.value == record.opencode_session_id
    assert not lifecycle.just_created
    assert [found.id for found in sessions_of(key(record))] == [record.opencode_session_id]


@pytest.mark.parametrize("wrong", [None, "allow", {"edit": "allow"}, [("edit", "*", "allow")], allow("edit")])
def test_rules_that_are_not_rules_are_refused_before_anything_happens(client, carried, record, wrong):
    with pytest.raises(errors.InvalidRulesError):
        Session(record, permissions_for=lambda _: wrong).ensure(client)
    assert carried == []
    assert record.opencode_session_id is None


def test_abort_of_nothing_asks_nothing(client, carried, record):
    Session(record).abort(client)
    assert carried == []


def test_abort_never_raises_and_says_what_went_wrong(server, client, record):
    session_id = Session(record).ensure(client)
    reported = []
    with Client("http://127.0.0.1:9", password=server.password) as nobody:
        Session(record, on_error=lambda *what: reported.append(what)).abort(nobody)
    ((error, context),) = reported
    assert isinstance(error, errors.ServerUnreachableError)
    assert (context.action, context.record, context.session_id) == ("abort", key(record), session_id)


def test_an_on_error_that_raises_is_contained_and_logged(record, caplog):
    record.state = RecordState("ses_x", ready=True)

    def broken(error, context):
        raise ZeroDivisionError

    with Client("http://127.0.0.1:9") as nobody:
        Session(record, on_error=broken).abort(nobody)
    assert "on_error itself failed" in caplog.text
    assert "abort failed for" in caplog.text


def test_an_asynchronous_on_error_is_refused_for_nobody_would_await_it(record):
    async def on_error(error, context): ...

    with pytest.raises(errors.ConfigurationError, match="on_error must not be async"):
        Session(record, on_error=on_error)


def test_an_asynchronous_observer_is_refused_likewise(client, record):
    class Waiting(Observer):
        async def finished(self, result): ...

    with pytest.raises(errors.ConfigurationError, match=r"Waiting\.finished"):
        Turn(MemoryMessage("hello"), Session(record), client, observer=Waiting())


def test_what_is_no_record_is_said_with_what_to_do():
    with pytest.raises(errors.ConfigurationError, match="RecordMixin"):
        Session(object())


class CountingStore(MemoryRecordStore):
    """One of many on one row; together they count how often it is read."""

    def __init__(self, record, loads):
        super().__init__(record)
        self._loads = loads

    async def load(self):
        self._loads.append(self.key)
        return await super().load()


def test_callers_of_one_process_wait_for_the_first_and_read_the_row_once_each(
    client, carried, record, line, monkeypatch
):
    monkeypatch.setattr(
        threads, "LONGEST_TURN", 60
    )  # on a busy machine, the first can take more than a second
    loads = []

    def ensure():
        return Session(None, store=CountingStore(record, loads), permissions_for=rules).ensure(client)

    session_ids = together(16, ensure)
    assert len(set(session_ids)) == 1
    assert carried == requests_of_a_new(session_ids[0], line)
    assert len(loads) == 17  # the first one reads it again, with the record
