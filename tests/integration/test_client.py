"""Every call of the client, sync and async, on the real server."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from opencode_sessions import (
    Client,
    aio,
    allow,
    ask,
    deny,
    errors,
    new_message_id,
    new_part_id,
    new_session_id,
)
from opencode_sessions.protocol.events import (
    PermissionAsked,
    QuestionAsked,
    SessionChanged,
    SessionDeleted,
    SessionIdle,
)


def wait_for(events, kind, seconds=60):
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        event = events.next(left)
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} within {seconds} s")


def run_turn(client, session_id, prompt, **more):
    with client.subscribe(session_id) as events:
        message_id = client.prompt(session_id, prompt, **more)
        wait_for(events, SessionIdle)
    return message_id


@pytest.fixture
def session_id(client):
    return client.create(new_session_id(), title="client", rules=[allow("*")]).id


def test_health_names_the_version(client):
    assert client.health().version.startswith("1.18.")


def test_the_wrong_password_is_refused(server):
    with Client(server.url, password="wrong") as client, pytest.raises(errors.CredentialsRefusedError):
        client.health()


def test_a_session_is_created_with_the_callers_id_once_however_often(client):
    session_id = new_session_id()
    for _ in range(3):
        assert client.create(session_id, title="mine").id == session_id
    assert [found.id for found in client.list(all_directories=True)].count(session_id) == 1


def test_twenty_creations_at_once_make_one_session(client):
    session_id = new_session_id()
    threads = [threading.Thread(target=client.create, args=(session_id,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found.id for found in client.list(all_directories=True)].count(session_id) == 1


def test_a_session_is_created_with_the_servers_id_and_a_parent(client, session_id):
    child = client.create(title="child", rules=[deny("bash")], metadata={"a": 1}, parent_id=session_id)
    assert child.parent_id == session_id
    assert child.metadata == {"a": 1}
    assert dict(child.rules[0]) == {"permission": "bash", "pattern": "*", "action": "deny"}
    assert [found.id for found in client.children(session_id)] == [child.id]
    with pytest.raises(ValueError, match="no session_id"):
        client.create(new_session_id(), parent_id=session_id)


def test_updates_append_rules_and_replace_metadata(client, session_id):
    client.update(session_id, title="new", rules=[deny("bash")], metadata={"a": 1})
    found = client.update(session_id, metadata={"b": 2})
    assert found.title == "new"
    assert [rule["permission"] for rule in found.rules] == ["*", "bash"]
    assert found.metadata == {"b": 2}
    assert client.get(session_id) == found


def test_what_is_deleted_is_not_found(client, session_id):
    assert client.delete(session_id) is True
    assert client.delete(session_id) is False
    with pytest.raises(errors.SessionNotFoundError) as caught:
        client.get(session_id)
    assert (caught.value.session_id, caught.value.status) == (session_id, 404)
    with pytest.raises(errors.SessionNotFoundError):
        client.prompt(session_id, "anybody?")
    with pytest.raises(errors.SessionNotFoundError):
        next(client.messages(session_id))


def test_lists_are_scoped_to_the_clients_directory_and_paged(server, tmp_path):
    with Client(server.url, password=server.password, directory=str(tmp_path)) as client:
        made = [client.create(new_session_id(), title=f"s{number}").id for number in range(5)]
        assert client.get(made[0]).directory == str(tmp_path)
        assert sorted(found.id for found in client.list(page_size=2)) == sorted(made)
        assert [found.title for found in client.list(search="s3")] == ["s3"]
        assert client.status() == {}


def test_a_prompt_with_our_ids_is_stored_under_them_and_answered(client, session_id):
    ids = {"message_id": new_message_id(), "part_id": new_part_id()}
    assert run_turn(client, session_id, "hello", **ids) == ids["message_id"]
    prompt = client.message(session_id, ids["message_id"])
    assert (prompt.info.role, prompt.parts[0]["id"]) == ("user", ids["part_id"])
    answer, stored = client.messages(session_id)
    assert stored == prompt
    assert (answer.info.parent_id, answer.info.completed) == (ids["message_id"], True)
    assert answer.info.tokens["output"] > 0
    with pytest.raises(errors.NotFoundError):
        client.message(session_id, new_message_id())


def test_messages_are_paged_from_the_newest(client, session_id):
    for number in range(3):
        run_turn(client, session_id, f"n{number}")
    texts = [m.parts[0]["text"] for m in client.messages(session_id, page_size=2) if m.info.role == "user"]
    assert texts == ["n2", "n1", "n0"]


def test_a_busy_session_has_a_status_until_it_is_aborted(client, session_id):
    with client.subscribe(session_id) as events:
        client.prompt(session_id, "!slow 600\n!say x")
        while session_id not in client.status():
            time.sleep(0.02)
        assert client.status()[session_id].status == "busy"
        client.abort(session_id)
        wait_for(events, SessionIdle)
    assert session_id not in client.status()


def test_abort_of_a_session_that_does_not_exist_is_no_error(client):
    client.abort(new_session_id())


def test_a_permission_is_asked_found_pending_and_answered(client, session_id):
    client.update(session_id, rules=[ask("bash")])
    with client.subscribe(session_id) as events:
        client.prompt(session_id, '!tool bash {"command": "echo hi", "description": "greet"}')
        asked = wait_for(events, PermissionAsked)
        assert (asked.permission, asked.patterns) == ("bash", ("echo hi",))
        assert asked.request_id in [pending.request_id for pending in client.pending_permissions()]
        client.answer_permission(session_id, asked.request_id, "once")
        wait_for(events, SessionIdle)
        with pytest.raises(errors.NotFoundError):
            client.answer_permission(session_id, asked.request_id, "once")


def test_an_ask_whose_metadata_has_a_hole_makes_the_server_refuse_the_whole_list(client, session_id):
    client.update(session_id, rules=[ask("glob")])
    with client.subscribe(session_id) as events:
        client.prompt(session_id, '!tool glob {"pattern": "a*"}')
        asked = wait_for(events, PermissionAsked)
        with pytest.raises(errors.BadRequestError, match="got undefined"):
            client.pending_permissions()
        client.answer_permission(session_id, asked.request_id, "reject")
        wait_for(events, SessionIdle)


@pytest.mark.full
def test_a_rejection_tells_the_agent_why(client, session_id):
    client.update(session_id, rules=[ask("glob")])
    with client.subscribe(session_id) as events:
        client.prompt(session_id, '!tool glob {"pattern": "a*"}')
        asked = wait_for(events, PermissionAsked)
        client.answer_permission(session_id, asked.request_id, "reject", message="not in this house")
        wait_for(events, SessionIdle)
    tools = [part for m in client.messages(session_id) for part in m.parts if part["type"] == "tool"]
    assert "not in this house" in tools[0]["state"]["error"]


QUESTION = (
    '!tool question {"questions": [{"question": "Which?", "header": "Pick", '
    '"options": [{"label": "Red", "description": "r"}, {"label": "Blue", "description": "b"}]}]}'
)


def test_a_question_is_asked_and_answered(client, session_id):
    with client.subscribe(session_id) as events:
        client.prompt(session_id, QUESTION)
        asked = wait_for(events, QuestionAsked)
        assert asked.questions[0]["question"] == "Which?"
        assert asked.request_id in [pending.request_id for pending in client.pending_questions()]
        client.answer_question(asked.request_id, [["Blue"]])
        wait_for(events, SessionIdle)
    tools = [part for m in client.messages(session_id) for part in m.parts if part["type"] == "tool"]
    assert "Blue" in tools[0]["state"]["output"]


@pytest.mark.full
def test_a_question_can_be_rejected(client, session_id):
    with client.subscribe(session_id) as events:
        client.prompt(session_id, QUESTION)
        client.reject_question(wait_for(events, QuestionAsked).request_id)
        wait_for(events, SessionIdle)
    with pytest.raises(errors.NotFoundError):
        client.reject_question("que_0000000000000000000000000000")


def test_a_deletion_is_told(client, session_id):
    with client.subscribe(session_id) as events:
        client.delete(session_id)
        assert wait_for(events, SessionDeleted).session_id == session_id


def test_a_fork_has_the_messages_but_not_the_rules(client, session_id):
    run_turn(client, session_id, "one")
    second = run_turn(client, session_id, "two")
    fork = client.fork(session_id, second)
    assert fork.id != session_id
    assert list(fork.rules) == []
    assert [m.parts[0]["text"] for m in client.messages(fork.id) if m.info.role == "user"] == ["one"]


@pytest.mark.full
def test_a_revert_can_be_taken_back(client, session_id):
    message_id = run_turn(client, session_id, "one")
    assert client.revert(session_id, message_id).id == session_id
    assert client.unrevert(session_id).id == session_id


def test_a_malformed_prompt_is_a_bad_request(client, session_id):
    with pytest.raises(errors.BadRequestError) as caught:
        client.prompt(session_id, [{"type": "text"}])
    assert caught.value.status == 400


def test_a_child_sessions_events_come_with_its_parents(client, session_id):
    child = client.create(title="child", parent_id=session_id)
    with client.subscribe(session_id) as events:
        client.update(child.id, title="still a child")
        while (event := wait_for(events, SessionChanged)).session_id != child.id:
            pass  # what was said of the parent, late
    assert event.session_id == child.id


def test_the_async_face_makes_the_same_calls(server):
    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            assert (await client.health()).version.startswith("1.18.")
            session_id = (await client.create(new_session_id(), title="async")).id
            async with await client.subscribe(session_id) as events:
                await client.prompt(session_id, "hello")
                async for event in events:
                    if isinstance(event, SessionIdle):
                        break
            texts = [message.parts async for message in client.messages(session_id, page_size=1)]
            found = [info.id async for info in client.list(all_directories=True) if info.id == session_id]
            assert await client.delete(session_id)
            with pytest.raises(errors.SessionNotFoundError):
                await client.get(session_id)
            return len(texts), len(found)

    assert asyncio.run(main()) == (2, 1)


def test_both_clients_have_the_same_calls():
    from opencode_sessions.wire.api import Api  # noqa: PLC0415 - only here

    public = {name for name in vars(Api) if not name.startswith("_")}
    assert public <= {name for name in vars(Client) if not name.startswith("_")}
