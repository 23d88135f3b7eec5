"""What the agent asks is answered by a handler, in the row from any process, or refused at once: on the real server."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time

import httpx2
import pytest
from fix_cli import eventually
from selection import sample

from opencode_sessions import (
    IN_THE_ROW,
    Answer,
    Client,
    Deadlines,
    Observer,
    Session,
    Turn,
    aio,
    allow,
    ask,
    errors,
)
from opencode_sessions.display import display_ask
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

pytestmark = pytest.mark.lines

BASH = '!tool bash {"command": "touch ran", "description": "run"}\n!say done'
GOALS = [{"label": "Rome", "description": "south"}, {"label": "Oslo", "description": "north"}]


def question(*asked):
    questions = [{"question": each, "header": "Goal", "options": GOALS} for each in asked]
    return f"!tool question {json.dumps({'questions': questions})}\n!say done"


QUESTION = question("Where to?")
TWO_QUESTIONS = question("Where to?", "And then?")


def task(prompt):
    return (
        "!tool task "
        + json.dumps({"description": "d", "subagent_type": "general", "prompt": prompt})
        + "\n!say back"
    )


@pytest.fixture
def record():
    return MemoryRecord("A turn that asks")


@pytest.fixture(autouse=True)
def forgotten(server, line):
    """What a person answered with "always" is stored for the next tests by a 2.x server."""
    yield
    if line == "v2":
        auth = (server.username, server.password)
        with httpx2.Client(base_url=server.url, auth=auth, trust_env=False, timeout=100) as http:
            for saved in http.get("/api/permission/saved").json()["data"]:
                http.delete(f"/api/permission/saved/{saved['id']}").raise_for_status()


def rules(_):
    return [allow("*"), ask("bash"), ask("external_directory")]


def turn_of(message, record, client, **options):
    return Turn(message, Session(record, permissions_for=rules), client, **options)


def running(turn):
    results = []
    thread = threading.Thread(target=lambda: results.append(turn.run()))
    thread.start()
    return thread, results


def until(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_with_nobody_to_answer_a_permission_is_refused_at_once_and_the_agent_goes_on(
    place, record, tmp_path, line
):
    result = turn_of(MemoryMessage(BASH), record, place).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert (result.tools[0]["status"], result.duration < 60) == ("error", True)
    # A 2.x server tells the agent, and not the reader, what was said.
    assert ("Nobody is there" in result.tools[0]["error"]) == (line == "v1")
    assert not (tmp_path / "ran").exists()


@pytest.mark.full
def test_with_nobody_to_answer_a_question_the_agent_is_told_so_at_once_and_goes_on(place, record):
    result = turn_of(MemoryMessage(QUESTION), record, place).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert (result.tools[0]["status"], result.duration < 60) == ("completed", True)
    assert "Nobody is there" in result.tools[0]["output"]


@pytest.mark.full
def test_a_question_that_is_rejected_with_a_word_is_answered_with_it_and_without_one_stops_the_turn(
    place, record
):
    def turn(**how):
        return turn_of(
            MemoryMessage(TWO_QUESTIONS), record, place, on_ask=lambda _: Answer.reject(**how)
        ).run()

    with_word = turn(message="ask me tomorrow")
    assert (with_word.status, with_word.content) == (TurnStatus.COMPLETED, "done")
    assert with_word.tools[0]["output"].count("ask me tomorrow") == 2  # of each of its questions
    without = turn()
    assert (without.status, without.error["name"]) == (TurnStatus.FAILED, "Stopped")


def test_a_handler_answers_and_the_tool_runs(place, record, tmp_path):
    asked = []

    def handler(ask):
        asked.append(ask)
        return Answer.once()

    result = turn_of(MemoryMessage(BASH), record, place, on_ask=handler).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert (tmp_path / "ran").exists()
    (only,) = asked
    assert (only.kind, only.permission) == ("permission", "bash")
    assert only.patterns
    assert only.age < 60


@pytest.mark.full
def test_always_is_asked_once(place, record):
    asked = []
    two = BASH.replace(
        "\n!say done", '\n!tool bash {"command": "touch ran", "description": "again"}\n!say done'
    )

    def handler(ask):
        asked.append(ask)
        return Answer.always()

    result = turn_of(MemoryMessage(two), record, place, on_ask=handler).run()
    assert [tool["status"] for tool in result.tools] == ["completed", "completed"]
    assert len(asked) == 1


@pytest.mark.full
def test_a_rejection_with_a_word_goes_on_and_one_without_stops(place, record, line):
    with_word = turn_of(MemoryMessage(BASH), record, place, on_ask=lambda _: Answer.reject("not today")).run()
    assert (with_word.status, with_word.content) == (TurnStatus.COMPLETED, "done")
    assert ("not today" in with_word.tools[0]["error"]) == (line == "v1")
    without = turn_of(MemoryMessage(BASH), record, place, on_ask=lambda _: Answer.reject()).run()
    assert (without.status, without.error["name"]) == (TurnStatus.FAILED, "Stopped")


def test_a_question_is_answered_with_a_choice(place, record):
    result = turn_of(MemoryMessage(QUESTION), record, place, on_ask=lambda _: Answer.choose(["Oslo"])).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert "Oslo" in result.tools[0]["output"]


@pytest.mark.full
def test_a_handler_of_the_async_face_is_awaited(server, record, tmp_path):
    async def handler(_):
        await asyncio.sleep(0.1)
        return Answer.once()

    async def main():
        async with aio.Client(server.url, password=server.password, directory=str(tmp_path)) as client:
            session = aio.Session(record, permissions_for=rules)
            return await aio.Turn(MemoryMessage(BASH), session, client, on_ask=handler).run()

    assert asyncio.run(main()).content == "done"
    assert (tmp_path / "ran").exists()


def test_a_handler_that_raises_is_reported_and_the_ask_refused(place, record):
    reported = []

    def handler(ask):
        raise ZeroDivisionError

    session = Session(record, permissions_for=rules, on_error=lambda *what: reported.append(what))
    result = Turn(MemoryMessage(BASH), session, place, on_ask=handler).run()
    assert result.tools[0]["status"] == "error"
    ((error, context),) = reported
    assert isinstance(error, ZeroDivisionError)
    assert context.action == "ask"


@pytest.mark.full
def test_a_handler_of_the_async_face_that_is_an_ordinary_function_may_wait_and_stops_no_other_task(
    server, record, tmp_path
):
    asked, beside = threading.Event(), threading.Event()

    def handler(_):
        asked.set()
        return Answer.once() if beside.wait(60) else Answer.reject("nothing went on beside me")

    async def main():
        async with aio.Client(server.url, password=server.password, directory=str(tmp_path)) as client:
            session = aio.Session(record, permissions_for=rules)
            turn = asyncio.create_task(aio.Turn(MemoryMessage(BASH), session, client, on_ask=handler).run())
            while not asked.is_set():  # noqa: ASYNC110 - it is set in a thread
                await asyncio.sleep(0.02)
            beside.set()
            return await turn

    result = asyncio.run(main())
    assert (result.status, result.tools[0]["status"]) == (TurnStatus.COMPLETED, "completed")
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("by", sample(["a cancel", "another's answer", "a deadline"]))
def test_a_handler_that_waits_in_vain_is_cancelled(server, record, by):
    message, said = MemoryMessage(BASH), []

    async def handler(_):
        said.append("waits")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append("cancelled")
            raise

    async def run():
        async with aio.Client(server.url, password=server.password) as client:

            def turn():
                session = aio.Session(record, permissions_for=rules)
                patience = Deadlines(person=0.5 if by == "a deadline" else math.inf)
                return aio.Turn(message, session, client, on_ask=handler, deadlines=patience)

            running = asyncio.create_task(turn().run())
            while not (message.state.asks or running.done()):  # noqa: ASYNC110 - nobody tells what is in the row
                await asyncio.sleep(0.02)
            if by == "a cancel":
                await turn().cancel()
            elif by == "another's answer":
                await turn().answer(message.state.asks[0]["id"], Answer.once())
            return await running

    result = asyncio.run(run())
    assert result.status is (TurnStatus.CANCELLED if by == "a cancel" else TurnStatus.COMPLETED)
    assert said == ["waits", "cancelled"]


def test_a_choice_is_no_answer_to_a_permission_and_the_turn_waits_on(place, record, tmp_path):
    message = MemoryMessage(BASH)
    thread, results = running(turn_of(message, record, place, on_ask=IN_THE_ROW))
    (waiting,) = until(lambda: message.state.asks)
    elsewhere = turn_of(message, record, place)
    with pytest.raises(errors.ConfigurationError, match=r"no question but a permission \(bash\)"):
        elsewhere.answer(waiting["id"], Answer.choose(["No"]))
    with pytest.raises(errors.ConfigurationError, match="a permission has none"):
        Answer.choose(*[["No"] for _ in waiting["questions"]])
    (still,) = place.pending_asks(record.opencode_session_id)
    assert still.request_id == waiting["id"]
    elsewhere.answer(waiting["id"], Answer.reject("no"))
    thread.join(60)
    assert results[0].tools[0]["status"] == "error"
    assert not (tmp_path / "ran").exists()


def test_an_answer_within_a_transaction_of_the_callers_is_refused(place, make_bench):
    bench = make_bench("sqlalchemy-sqlite-sync")
    message, record = bench.message(BASH), bench.record()
    turn = turn_of(message, record, place)
    with bench.open_transaction(message), pytest.raises(errors.OpenTransactionError):
        turn.answer("per_any", Answer.once())
    with pytest.raises(errors.AskAnsweredError):
        turn.answer("per_any", Answer.once())


def test_an_ask_waits_in_the_row_until_another_process_answers(place, record, tmp_path):
    message = MemoryMessage(BASH)
    thread, results = running(turn_of(message, record, place, on_ask=IN_THE_ROW))
    (waiting,) = until(lambda: message.state.asks)
    assert (waiting["kind"], waiting["permission"]) == ("permission", "bash")
    elsewhere = turn_of(message, record, place)
    elsewhere.answer(waiting["id"], Answer.once())
    thread.join(60)
    assert results[0].content == "done"
    assert (tmp_path / "ran").exists()
    assert message.state.asks == ()
    with pytest.raises(errors.AskAnsweredError, match="has ended"):
        elsewhere.answer(waiting["id"], Answer.once())


def test_an_answer_to_what_was_not_shown_is_refused_and_the_turn_waits_on(place, record, tmp_path):
    message = MemoryMessage(BASH)
    thread, results = running(turn_of(message, record, place, on_ask=IN_THE_ROW))
    (waiting,) = until(lambda: message.state.asks)
    shown = display_ask(waiting, message.state.parts).shown
    elsewhere = turn_of(message, record, place)
    other = display_ask({**waiting, "metadata": {"command": "ls"}}, message.state.parts).shown
    with pytest.raises(errors.AskChangedError, match="has changed since it was shown") as caught:
        elsewhere.answer(waiting["id"], Answer("once", shown=other))
    assert caught.value.ask_id == waiting["id"]
    assert place.pending_asks(record.opencode_session_id)
    elsewhere.answer(waiting["id"], Answer("once", shown=shown))
    thread.join(60)
    assert results[0].content == "done"
    assert (tmp_path / "ran").exists()


def test_an_ask_is_stored_together_with_what_its_tool_is_given(place, record):
    message = MemoryMessage(BASH)
    thread, _ = running(turn_of(message, record, place, on_ask=IN_THE_ROW))
    (waiting,) = until(lambda: message.state.asks)
    (part,) = (part for part in message.state.parts if part.get("call_id") == waiting["call_id"])
    assert part["input"] == {"command": "touch ran", "description": "run"}
    turn_of(message, record, place).answer(waiting["id"], Answer.reject("no"))
    thread.join(60)


@pytest.mark.full
def test_answered_twice_is_said(place, record):
    message = MemoryMessage(QUESTION)
    thread, _ = running(turn_of(message, record, place, on_ask=IN_THE_ROW))
    (waiting,) = until(lambda: message.state.asks)
    elsewhere = turn_of(message, record, place)
    with pytest.raises(errors.ConfigurationError, match="1 questions"):
        elsewhere.answer(waiting["id"], Answer.once())
    elsewhere.answer(waiting["id"], Answer.choose(["Rome"]))
    with pytest.raises(errors.AskAnsweredError):
        elsewhere.answer(waiting["id"], Answer.choose(["Oslo"]))
    thread.join(60)
    assert "Rome" in message.state.parts[0]["output"]


def test_what_a_sub_agent_asks_reaches_the_handler(place, record):
    asked = []

    def handler(ask):
        asked.append(ask)
        return Answer.reject("stay inside")

    prompt = task('!tool read {"filePath": "/etc/hostname"}\n!say tried')
    result = turn_of(MemoryMessage(prompt), record, place, on_ask=handler).run()
    assert result.content == "back"
    assert asked[0].permission == "external_directory"
    assert asked[0].session_id != result.session_id


@pytest.mark.full
def test_a_wait_for_a_person_stops_the_clocks_and_may_have_its_own(client, carried, hours, record, line):
    looking = {"v1": "GET /session/status", "v2": "GET /api/session/active"}[line]
    message = MemoryMessage(BASH)
    deadlines = Deadlines(total=3600.0, silence=3600.0, look=0.5)
    thread, results = running(turn_of(message, record, client, on_ask=IN_THE_ROW, deadlines=deadlines))
    (waiting,) = until(lambda: message.state.asks)
    hours.leap(7200)
    looks = carried.count(looking)
    until(lambda: carried.count(looking) >= looks + 3)  # it has seen how late it is
    assert message.state.status is TurnStatus.STREAMING
    turn_of(message, record, client).answer(waiting["id"], Answer.once())
    thread.join(60)
    assert results[0].status is TurnStatus.COMPLETED
    patient = Deadlines(person=1.0, look=0.5)
    result = turn_of(MemoryMessage(BASH), record, client, on_ask=IN_THE_ROW, deadlines=patient).run()
    assert ("in time" in result.tools[0]["error"]) == (line == "v1")


def test_an_ask_that_came_in_a_gap_is_found(server, record, tmp_path):
    """The stream is not there while the agent asks: only what waits can tell."""
    message = MemoryMessage(BASH)
    with Client(server.url, password=server.password, directory=str(tmp_path)) as client:
        session = Session(record, permissions_for=rules)
        session.ensure(client)

        class Deaf(Observer):
            def started(self, session_id, prompt_id):
                client._core._events._router.deliver = lambda event: None

        deadlines = Deadlines(look=0.5)
        turn = Turn(
            message, session, client, on_ask=lambda _: Answer.once(), observer=Deaf(), deadlines=deadlines
        )
        result = turn.run()
    assert result.content == "done"
    assert (tmp_path / "ran").exists()


@pytest.mark.full
def test_what_another_turn_of_the_session_asks_is_left_to_that_one(place, record, held):
    asked, results = [], []

    def refuse(ask):
        asked.append(ask)
        return Answer.reject()

    message = MemoryMessage("!say one two three four five six")
    turn = Turn(message, Session(record, permissions_for=rules), place, on_ask=refuse)
    runner = threading.Thread(target=lambda: results.append(turn.run()))
    runner.start()
    eventually(lambda: message.state.content)
    place.prompt(record.opencode_session_id, BASH)
    held.set()
    eventually(lambda: place.pending_asks(record.opencode_session_id))
    time.sleep(1.0)  # in which it would be answered
    (waiting,) = place.pending_asks(record.opencode_session_id)
    place.answer_permission(record.opencode_session_id, waiting.request_id, "once")
    runner.join(60)
    assert [result.content for result in results] == ["one two three four five six"]
    assert asked == []


@pytest.mark.full
def test_an_ask_says_what_always_would_allow(place, record):
    asked = []

    def refuse(ask):
        asked.append(ask)
        return Answer.reject("no")

    Turn(MemoryMessage(BASH), Session(record, permissions_for=rules), place, on_ask=refuse).run()
    assert asked[0].always == ("touch *",)
