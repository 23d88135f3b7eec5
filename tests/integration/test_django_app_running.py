"""`enqueue`: turns in threads of this process, on the real server."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction
from django.utils import timezone
from fix_django_app import wait_until
from selection import sample

from opencode_sessions import Answer, Deadlines, Session, Turn, allow, ask
from opencode_sessions.django import acancel, aenqueue, cancel, enqueue, signals, turn_for
from opencode_sessions.django import host as host_module
from opencode_sessions.errors import RecordNotSavedError

BOTH = pytest.mark.parametrize("using", sample(["postgres", "default"]))
SLOW = "!slow 0.1\n!say one two three four five six seven eight nine ten"
SAID = "one two three four five six seven eight nine ten"


@BOTH
def test_a_message_that_is_enqueued_is_answered(chat, using):
    message = chat.message("hello", using=using)
    enqueue(message)
    row = chat.ended(message)
    assert (row.status, row.content) == ("completed", 'You said: "hello".')
    assert row.opencode_turn_lease is None


@BOTH
def test_in_a_transaction_it_waits_for_the_commit_and_the_promise_is_part_of_that(chat, using):
    with transaction.atomic(using=using):
        message = chat.message("hello", using=using)
        enqueue(message)
        assert chat.row(message).opencode_turn_lease is not None
        time.sleep(0.3)
        assert chat.row(message).status == "pending"
    assert chat.ended(message).status == "completed"


@BOTH
def test_a_rollback_takes_it_back(chat, using):
    conversation = chat.conversation(using)
    with transaction.atomic(using=using):
        enqueue(chat.message("hello", conversation, using))
        transaction.set_rollback(True, using=using)
    time.sleep(0.3)
    assert not chat.Message.objects.using(using).filter(conversation_id=conversation.pk).exists()
    assert host_module.dispatcher().idle


def test_from_a_coroutine(chat):
    message = chat.message("hello")
    async_to_sync(aenqueue)(message)
    assert chat.ended(message).status == "completed"


def test_enqueued_twice_is_answered_once(chat, client):
    message = chat.message("hello")
    enqueue(message)
    enqueue(message)
    row = chat.ended(message)
    wait_until(lambda: host_module.dispatcher().idle)
    enqueue(message)  # and once more, when it has its answer
    wait_until(lambda: host_module.dispatcher().idle)
    assert chat.row(message).opencode_turn_epoch == row.opencode_turn_epoch == 1
    prompts = [each for each in client.messages(row.opencode_prompt_session_id) if each.info.role == "user"]
    assert len(prompts) == 1


def test_a_message_that_is_not_saved_is_refused(chat):
    with pytest.raises(RecordNotSavedError):
        enqueue(chat.Message(prompt="hello", conversation=chat.conversation()))


@BOTH
def test_the_messages_of_a_conversation_are_answered_in_their_order(chat, using):
    conversation = chat.conversation(using)
    messages = [chat.message(f"number {number}", conversation, using) for number in range(4)]
    for message in messages:
        enqueue(message)
    rows = [chat.ended(message) for message in messages]
    assert all(row.content.startswith(f'You said: "number {number}".') for number, row in enumerate(rows))
    assert len({row.opencode_prompt_session_id for row in rows}) == 1
    for earlier, later in itertools.pairwise(rows):
        assert earlier.finished_at <= later.started_at


@BOTH
def test_conversations_are_answered_at_the_same_time(chat, using, held):
    messages = [chat.message(SLOW, using=using) for _ in range(4)]
    for message in messages:
        enqueue(message)
    for message in messages:
        wait_until(lambda message=message: chat.row(message).content)
    held.set()
    rows = [chat.ended(message) for message in messages]
    assert {row.content for row in rows} == {SAID}
    assert max(row.started_at for row in rows) < min(row.finished_at for row in rows)


def test_no_more_threads_run_than_the_settings_say(chat, opencode, held):
    with chat.configured(opencode, THREADS=2):
        messages = [chat.message(SLOW) for _ in range(3)]
        for message in messages:
            enqueue(message)
        wait_until(lambda: sum(bool(chat.row(message).content) for message in messages) == 2)
        held.set()
        rows = sorted((chat.ended(message) for message in messages), key=lambda row: row.started_at)
        assert rows[2].started_at >= min(row.finished_at for row in rows[:2])
        assert sum(thread.name.startswith("opencode-sessions turns") for thread in threading.enumerate()) >= 2


@pytest.mark.full
def test_a_conversation_in_which_another_process_runs_a_turn_is_waited_for_without_a_thread(
    chat, opencode, client, held
):
    conversation = chat.conversation()
    first = chat.message(SLOW, conversation)
    session = Session(conversation)
    elsewhere = threading.Thread(target=Turn(first, session, client).run)  # as another process does
    elsewhere.start()
    wait_until(lambda: chat.row(first).content)
    with chat.configured(opencode, THREADS=1):
        second = chat.message("second", conversation)
        enqueue(second)
        other = chat.message("of another conversation")
        enqueue(other)
        assert chat.ended(other).status == "completed"
        assert chat.row(second).status == "pending"
        held.set()
        assert chat.ended(second).status == "completed"
    elsewhere.join()
    assert chat.row(first).finished_at <= chat.row(second).started_at


def test_a_turn_that_cannot_begin_as_the_server_is_away_fails_and_its_row_says_why(chat, opencode):
    told = []
    with chat.configured(opencode, SERVER="http://127.0.0.1:9", ON_ERROR=lambda *what: told.append(what)):
        message = chat.message("hello")
        began = timezone.now()
        enqueue(message)
        row = chat.ended(message)
    assert row.status == "failed"
    assert row.error["name"] == "ServerUnreachableError"
    assert row.finished_at - began > timedelta(seconds=1.9), "the project's options say 2 s"
    assert [(context.action, type(error).__name__) for error, context in told] == [
        ("run", "ServerUnreachableError")
    ]


def test_a_turn_that_waits_for_its_server_stays_promised_so_that_it_is_found_if_this_process_dies(
    chat, opencode
):
    with chat.configured(opencode, SERVER="http://127.0.0.1:9", TURN_OPTIONS=lambda _: {}):
        message = chat.message("hello")
        enqueue(message)
        wait_until(lambda: chat.row(message).opencode_turn_epoch > 1)
        row = wait_until(lambda: row if (row := chat.row(message)).status == "pending" else None)
        assert row.opencode_turn_lease is not None
        assert cancel(message, by="ada")


@pytest.mark.full
def test_a_server_that_comes_back_in_time_is_waited_for(chat, opencode, own_server):
    server = own_server()
    server.kill()
    # What is asked of a server that is still starting can hang.
    patient = {
        "TIMEOUTS": {"read": 3},
        "TURN_OPTIONS": lambda _: {"deadlines": Deadlines(unreachable=600)},
    }
    with chat.configured(opencode, SERVER=server.url, PASSWORD=server.password, **patient):
        message = chat.message("hello")
        enqueue(message)
        wait_until(lambda: chat.row(message).opencode_turn_epoch > 0)
        server.restart()
        row = chat.ended(message, timeout=120)
    assert (row.status, row.content) == ("completed", 'You said: "hello".')


def test_what_the_host_wrote_wrong_fails_the_turn_and_the_next_one_runs(chat, opencode):
    conversation = chat.conversation()

    def options(message):
        if message.prompt == "wrong":
            raise ValueError("no such agent")
        return {}

    with chat.configured(opencode, TURN_OPTIONS=options, ON_ERROR=lambda *_: None):
        wrong, right = chat.message("wrong", conversation), chat.message("right", conversation)
        enqueue(wrong)
        enqueue(right)
        assert chat.ended(right).status == "completed"
    row = chat.row(wrong)
    assert (row.status, row.error) == ("failed", {"name": "ValueError", "message": "no such agent"})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"deadlines": 5}, "deadlines must be Deadlines"),
        ({"modle": "x"}, "OPENCODE[\"TURN_OPTIONS\"] says 'modle'"),
    ],
)
def test_options_that_cannot_work_fail_the_turn_at_once_and_its_row_says_why(chat, opencode, said, why):
    with chat.configured(opencode, TURN_OPTIONS=lambda _: said, ON_ERROR=lambda *_: None):
        message = chat.message("hello")
        enqueue(message)
        row = chat.ended(message)
    assert row.status == "failed"
    assert why in row.error["message"]


def test_a_row_that_is_deleted_while_it_waits_is_forgotten(chat):
    conversation = chat.conversation()
    first, second = chat.message(SLOW, conversation), chat.message("second", conversation)
    enqueue(first)
    enqueue(second)
    second.delete()
    chat.ended(first)
    wait_until(lambda: host_module.dispatcher().idle)


def test_a_turn_is_cancelled_while_it_waits_and_while_it_runs(chat, held):
    conversation = chat.conversation()
    first, second = chat.message(SLOW, conversation), chat.message("second", conversation)
    enqueue(first)
    enqueue(second)
    assert cancel(second, by="ada")
    wait_until(lambda: chat.row(first).content)
    assert cancel(first, by="ada")
    assert not cancel(first, by="bob")
    wait_until(lambda: host_module.dispatcher().idle)
    rows = chat.row(first), chat.row(second)
    assert [(row.status, row.error["by"]) for row in rows] == [("cancelled", "ada")] * 2
    assert rows[0].content.startswith("one")


@pytest.mark.full
def test_a_turn_is_cancelled_from_a_coroutine_and_receivers_may_query(chat, held):
    told = []

    def receive(pk, result, **_):
        told.append((chat.Message.objects.get(pk=pk).status, result.status, result.error["by"]))

    message = chat.message(SLOW)
    enqueue(message)
    wait_until(lambda: chat.row(message).content)
    signals.turn_finished.connect(receive)
    try:
        assert async_to_sync(acancel)(message, by="ada")
        assert not async_to_sync(acancel)(message, by="bob")
        wait_until(lambda: host_module.dispatcher().idle)
    finally:
        signals.turn_finished.disconnect(receive)
    assert ("cancelled", "cancelled", "ada") in told
    assert chat.row(message).content.startswith("one")


def test_while_a_cancel_waits_for_the_server_other_coroutines_use_the_database(chat, opencode):
    ids = {"opencode_prompt_session_id": "ses_x", "opencode_prompt_id": "msg_x"}
    message = chat.message("hello", status="streaming", **ids)

    async def use(silent):
        cancelling = asyncio.create_task(acancel(message, by="ada"))
        asked, _ = await asyncio.get_running_loop().sock_accept(silent)
        with asked:
            async with asyncio.timeout(50):
                row = await sync_to_async(chat.row)(message)
            assert not cancelling.done()
        silent.close()
        assert await cancelling
        return row

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patient = {"TIMEOUTS": {"first_read": 60, "read": 60}, "ON_ERROR": lambda *_: None}
        with chat.configured(opencode, SERVER=address, **patient):
            row = asyncio.run(use(silent))
    assert row.status == "cancelled"


def test_what_the_agent_asks_waits_in_the_row_for_whoever_answers_it(chat, opencode):
    with chat.configured(opencode, PERMISSIONS_FOR=lambda _: [allow("*"), ask("bash")]):
        message = chat.message('!tool bash {"command": "echo hi", "description": "say hi"}')
        enqueue(message)
        (asked,) = wait_until(lambda: chat.row(message).asks)
        assert chat.Message.objects.waiting_for_answer().filter(pk=message.pk).exists()
        turn_for(chat.row(message)).answer(asked["id"], Answer.once())
        assert chat.ended(message).status == "completed"


def test_where_nobody_is_there_to_answer_it_is_refused(chat, opencode):
    with chat.configured(opencode, PERMISSIONS_FOR=lambda _: [allow("*"), ask("bash")], ON_ASK="refuse"):
        message = chat.message('!tool bash {"command": "echo hi", "description": "say hi"}')
        enqueue(message)
        assert chat.ended(message).asks == []
