"""Deleting a record's session, and stopping one with what it waits for: on the real server."""

from __future__ import annotations

import json
import time

import httpx2
import pytest
from selection import sample
from wires import InTwoRequests

from opencode_sessions import Client, Session, Turn, allow, ask, errors, new_session_id
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord, MemoryRecordStore
from opencode_sessions.store.records import RecordState

pytestmark = pytest.mark.lines

BASH = '!tool bash {"command": "touch ran", "description": "run"}'
QUESTION = '!tool question {"questions": [{"question": "Why?", "header": "Why", "options": [{"label": "a", \
"description": "a"}]}]}'


@pytest.fixture
def record():
    return MemoryRecord("A trip to Oslo")


def asking(record):
    return Session(record, permissions_for=lambda _: [allow("*"), ask("bash"), ask("external_directory")])


def until(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def pending(client):
    return [*client.pending_permissions(), *client.pending_questions()]


def task(prompt):
    return "!tool task " + json.dumps({"description": "d", "subagent_type": "general", "prompt": prompt})


def test_a_deleted_session_is_gone_and_the_row_names_none(client, record):
    session = Session(record)
    session_id = session.ensure(client)
    assert session.delete(client) is True
    assert record.state == RecordState()
    with pytest.raises(errors.SessionNotFoundError):
        client.get(session_id)
    assert session.delete(client) is False
    assert session.ensure(client) != session_id


def test_deleting_what_was_never_made_asks_nothing(client, carried, record):
    assert Session(record).delete(client) is False
    assert carried == []


def test_a_deletion_that_failed_leaves_the_row_so_that_it_can_be_tried_again(server, client, record):
    session_id = Session(record).ensure(client)
    with Client("http://127.0.0.1:9", password=server.password) as nobody:
        with pytest.raises(errors.ServerUnreachableError):
            Session(record).delete(nobody)
    assert record.state == RecordState(session_id, deleting=True)
    assert Session(record).delete(client) is True
    assert record.state == RecordState()


def test_who_ensures_while_a_deletion_hangs_gets_a_new_session_and_the_old_one_is_deleted(
    client, sessions_of, record
):
    session = Session(record)
    old = session.ensure(client)
    record.state = RecordState(old, deleting=True)
    fresh = Session(record).ensure(client)
    assert fresh != old
    assert [found.id for found in sessions_of(session.lifecycle.store.key)] == [fresh]
    assert record.state.ready


def test_a_maker_that_is_overtaken_by_a_deletion_leaves_nothing_behind(client, sessions_of, record):
    class Overtaken(InTwoRequests):
        deleted = False

        def __getattr__(self, name):
            if name == "update" and not self.deleted:
                self.deleted = True
                assert Session(record).delete(client)
            return getattr(client._core, name)

    lifecycle = Lifecycle(MemoryRecordStore(record))
    with pytest.raises(StopIteration) as ended:
        lifecycle.ensure(Overtaken()).send(None)
    assert [found.id for found in sessions_of(lifecycle.store.key)] == [ended.value.value]
    assert record.opencode_session_id == ended.value.value


def test_a_deleted_session_that_a_slow_maker_made_again_is_bare_and_not_prompted(client, record):
    session = Session(record, permissions_for=lambda _: [allow("*")])
    bare = session.ensure(client)
    client.delete(bare)
    client.create(bare)
    message = MemoryMessage("hello")
    assert Turn(message, session, client).run().session_id == record.opencode_session_id != bare
    with pytest.raises(errors.SessionNotFoundError):
        client.get(bare)


def test_of_a_row_that_is_gone_the_session_that_its_copy_names_is_deleted(client, record):
    session_id = Session(record).ensure(client)
    record.deleted = True
    assert Session(record).delete(client) is True
    with pytest.raises(errors.SessionNotFoundError):
        client.get(session_id)


@pytest.mark.parametrize("prompt", sample([BASH, QUESTION]), ids=["permission", "question"])
@pytest.mark.parametrize("how", sample(["delete", "abort"]))
def test_what_waits_for_a_person_is_rejected_when_its_session_is_stopped(
    place, record, tmp_path, prompt, how
):
    session = asking(record)
    place.prompt(session.ensure(place), prompt)
    (waiting,) = until(lambda: pending(place))
    getattr(session, how)(place)
    assert pending(place) == []
    answers = {
        BASH: lambda: place.answer_permission(waiting.session_id, waiting.request_id, "once"),
        QUESTION: lambda: place.answer_question(waiting.request_id, [["a"]], session_id=waiting.session_id),
    }
    with pytest.raises(errors.NotFoundError):
        answers[prompt]()
    assert not (tmp_path / "ran").exists()
    until(lambda: dict(place.status()) == {})


def test_what_a_sub_agent_waits_for_is_rejected_too_and_nobody_elses(place, record):
    other, session = asking(MemoryRecord("another")), asking(record)
    place.prompt(other.ensure(place), BASH)
    place.prompt(session.ensure(place), task('!tool read {"filePath": "/etc/hostname"}'))
    waiting = until(lambda: len(pending(place)) == 2 and pending(place))
    children = [ask.session_id for ask in waiting if ask.session_id != other.ensure(place)]
    assert place.get(children[0]).parent_id == session.ensure(place)
    session.abort(place)
    assert [ask.session_id for ask in pending(place)] == [other.ensure(place)]
    other.abort(place)
    assert pending(place) == []


@pytest.mark.lines("v1")  # which cannot write some asks as JSON
@pytest.mark.full
def test_asks_that_the_server_cannot_list_are_reported_and_do_not_keep_a_session_from_being_deleted(
    place, record
):
    reported = []
    rules = [allow("*"), ask("glob")]
    session = Session(record, permissions_for=lambda _: rules, on_error=lambda *what: reported.append(what))
    with place.subscribe() as events:
        place.prompt(session.ensure(place), '!tool glob {"pattern": "*"}')
        until(lambda: type(events.next(1)).__name__ == "PermissionAsked")
    assert session.delete(place) is True
    ((error, context),) = reported
    assert isinstance(error, errors.BadRequestError)
    assert (context.action, context.record) == ("reject_asks", session.lifecycle.store.key)
    assert record.state == RecordState()


class RefusingOneAnswer(httpx2.HTTPTransport):
    """The real transport, whose server fails over the first answer to an ask."""

    def __init__(self):
        super().__init__()
        self.refused = []

    def handle_request(self, request):
        if request.url.path.endswith("/reply") and not self.refused:
            self.refused.append(request)
            return httpx2.Response(500, json={"name": "UnknownError", "data": {"message": "boom"}})
        return super().handle_request(request)


@pytest.mark.lines("v1")  # on which an abort leaves asks waiting
@pytest.mark.parametrize("how", sample(["delete", "abort"]))
def test_a_rejection_that_fails_is_reported_once_and_does_not_keep_the_others(server, record, tmp_path, how):
    reported = []
    rules = [allow("*"), ask("bash")]
    session = Session(record, permissions_for=lambda _: rules, on_error=lambda *what: reported.append(what))
    transport, options = RefusingOneAnswer(), {"password": server.password, "directory": str(tmp_path)}
    with Client(server.url, transport=transport, **options) as client:
        client.prompt(session.ensure(client), f"{BASH}\n{BASH.replace('!tool', '!and')}")
        until(lambda: len(pending(client)) == 2)
        getattr(session, how)(client)
        assert pending(client) == []  # the server rejects all of a session with one of them
    ((error, context),) = reported
    assert isinstance(error, errors.ServerError)
    assert (context.action, context.record) == ("reject_asks", session.lifecycle.store.key)
    assert len(transport.refused) == 1
    assert record.state.ready == (how == "abort")


def test_stopping_what_does_not_exist_is_nothing(client):
    assert not client.stop(new_session_id())
