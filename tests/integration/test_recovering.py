"""Turns whose runners died are found and ended by whoever looks for them, in every database: on the real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import pytest
from fix_cli import eventually
from fix_stores import DATABASES
from selection import sample
from sqlalchemy import select
from turn_runners import turn_of

from opencode_sessions import Client, Deadlines, Session, Turn, aio, errors, recover
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

WORDS = "one two three four five six seven eight nine ten"
LEASE = 0.5  # seconds


PROMPT = f"!say {WORDS}"  # for a model that is held in the middle of it


@pytest.fixture
def rows(request, make_bench):
    return make_bench(request.param)


BOTH_FACES = ("sqlalchemy-postgres-sync", "django-sqlite-async")
every_database = pytest.mark.parametrize(
    "rows",
    sample([name for name in DATABASES if "mariadb" not in name], *BOTH_FACES),
    indirect=True,
)
both_faces = pytest.mark.parametrize("rows", sample(BOTH_FACES), indirect=True)


@pytest.fixture
def left(runners, server, held):
    """Call it for a message whose runner dies in the middle of its answer, where the model is held."""

    def leave(rows, record):
        message = rows.message(PROMPT)
        runner = runners.start(rows, server, message, record, lease=LEASE)
        eventually(lambda: rows.row(message)["content"])
        runners.kill(runner)
        row = rows.row(message)
        assert (row["status"], row["content"] in WORDS, row["content"] == WORDS) == ("streaming", True, False)
        return message

    return leave


def found(rows, *messages):
    """Those of the messages that a query finds abandoned, as the instances that it gives."""
    model, keys = type(messages[0]), [rows.identity(message) for message in messages]
    if hasattr(rows, "alias"):
        from opencode_sessions.django import abandoned  # noqa: PLC0415 - not before Django is configured

        query = model.objects.using(rows.alias).filter(abandoned(), pk__in=keys).order_by("pk")
        return rows.run(_listed(query)) if rows.asynchronous else list(query)
    from opencode_sessions.sqlalchemy import abandoned  # noqa: PLC0415 - the other one

    query = select(model).where(abandoned(model), model.id.in_(keys)).order_by(model.id)
    if rows.asynchronous:
        return rows.run(_selected(rows._async_session(), query))
    session = rows.session()
    instances = session.scalars(query).all()
    session.commit()
    return instances


async def _listed(query):
    return [instance async for instance in query]


async def _selected(session, query):
    instances = (await session.scalars(query)).all()
    await session.commit()
    return instances


async def recovering(rows, server, *turns, on_error=None):
    """How they ended; for `rows.run`, in either API. A turn is given as what makes it with a client."""
    if rows.asynchronous:
        async with aio.Client(server.url, password=server.password) as client:
            return await _listed(aio.recover((make(client) for make in turns), on_error=on_error))
    with Client(server.url, password=server.password) as client:
        return list(recover((make(client) for make in turns), on_error=on_error))


def roles(client, session_id):
    return [message.info.role for message in client.messages(session_id)][::-1]


@every_database
def test_a_turn_is_found_when_the_lease_of_its_dead_runner_has_run_out_and_ended(
    rows, left, held, server, client
):
    record = rows.record()
    message = left(rows, record)
    lease = rows.row(message)["opencode_turn_lease"]
    (again,) = eventually(partial(found, rows, message))
    assert datetime.now(UTC) >= (lease if lease.tzinfo else lease.replace(tzinfo=UTC))
    held.set()
    (result,) = rows.run(recovering(rows, server, partial(turn_of, rows, again, record)))
    assert (result.status, result.content, result.error) == (TurnStatus.COMPLETED, WORDS, None)
    row = rows.row(message)
    assert (row["status"], row["content"], row["opencode_turn_lease"]) == ("completed", WORDS, None)
    assert roles(client, result.session_id) == ["user", "assistant"]
    assert found(rows, message) == []


@both_faces
def test_while_the_lease_lasts_a_turn_is_neither_found_nor_taken_whether_its_runner_lives_or_not(
    rows, runners, held, server, client
):
    record, message = rows.record(), rows.message(PROMPT)
    runner = runners.start(rows, server, message, record, lease=60)
    eventually(lambda: rows.row(message)["content"])
    for what in (lambda: None, lambda: runners.kill(runner)):
        what()
        assert found(rows, message) == []
        turn = partial(turn_of, rows, rows.another(message), record)
        assert rows.run(recovering(rows, server, turn)) == []
        assert rows.row(message)["opencode_turn_epoch"] == 1
    rows.run(rows.store(message).extend(1, 0))  # as if a minute had gone by
    (again,) = found(rows, message)
    held.set()
    (result,) = rows.run(recovering(rows, server, partial(turn_of, rows, again, record)))
    assert result.content == WORDS
    assert roles(client, result.session_id) == ["user", "assistant"]


@both_faces
def test_of_two_who_recover_a_turn_at_once_one_does_and_the_other_passes_it_over(
    rows, left, held, server, client
):
    record = rows.record()
    message = left(rows, record)
    eventually(partial(found, rows, message))

    async def recovering_one(turn):
        ends = await recovering(rows, server, turn)
        held.set()  # one of them passed it over while the other was at it
        return ends

    turns = [partial(turn_of, rows, rows.another(message), rows.another(record)) for _ in range(2)]
    ends = rows.at_once([partial(recovering_one, turn) for turn in turns])
    (result,) = [result for end in ends for result in end]
    assert (result.status, result.content) == (TurnStatus.COMPLETED, WORDS)
    assert rows.row(message)["opencode_turn_epoch"] == 2
    assert roles(client, result.session_id) == ["user", "assistant"]


@pytest.mark.parametrize("rows", ["django-postgres-sync"], indirect=True)
def test_a_turn_left_behind_before_its_prompt_was_sent_is_asked_after_the_one_before_it(
    rows, left, held, runners, server, *, client
):
    """Its runner waits, as nobody else's turn is running, but the server still answers the one before it."""
    record = rows.record()
    first, second = left(rows, record), rows.message("and now me")
    runner = runners.start(rows, server, second, record, lease=LEASE, when_busy="wait")
    eventually(lambda: rows.row(second)["status"] == "streaming")
    runners.kill(runner)
    assert rows.row(second)["opencode_prompt_id"] is None
    assert client.busy(rows.row(record)["opencode_session_id"])
    both = eventually(lambda: len(left := found(rows, first, second)) == 2 and left)
    held.set()
    results = rows.run(recovering(rows, server, *(partial(turn_of, rows, each, record) for each in both)))
    assert [result.status for result in results] == [TurnStatus.COMPLETED] * 2
    assert results[0].content == WORDS
    assert results[1].content.startswith('You said: "and now me".')
    assert roles(client, results[1].session_id) == ["user", "assistant"] * 2


@both_faces
def test_one_that_cannot_be_run_is_reported_and_the_next_is_run(rows, server):
    gone, misruled, good = (rows.message("hello") for _ in range(3))
    keys = [rows.store(message).key for message in (gone, misruled)]
    rows.delete(gone)
    reported = []
    ends = recovering(
        rows,
        server,
        partial(turn_of, rows, gone, rows.record()),
        partial(turn_of, rows, misruled, rows.record(), permissions_for=lambda _: ["no rule"]),
        partial(turn_of, rows, good, rows.record()),
        on_error=lambda *what: reported.append(what),
    )
    (result,) = rows.run(ends)
    assert result.content == 'You said: "hello".'
    assert [(type(error), context.action, context.record) for error, context in reported] == [
        (errors.RecordGoneError, "recover", keys[0]),
        (errors.InvalidRulesError, "recover", keys[1]),
    ]


def test_who_is_told_of_no_error_finds_it_in_the_log_and_one_who_raises_stops_nothing(client, caplog):
    def turns():
        for rules in (["no rule"], []):
            session = Session(MemoryRecord("x"), permissions_for=lambda _, rules=rules: rules)
            yield Turn(MemoryMessage("hello"), session, client)

    def raising(error, context):
        raise ZeroDivisionError

    for on_error in (None, raising):
        caplog.clear()
        assert len(list(recover(turns(), on_error=on_error))) == 1
        told = [record for record in caplog.records if record.name == "opencode_sessions.errors"]
        assert "recover failed for memory:" in told[-1].getMessage()
        assert isinstance(told[-1].exc_info[1], errors.InvalidRulesError)


def test_a_runner_that_waits_for_its_session_is_not_taken_for_dead(client):
    message, session = MemoryMessage("and now me"), Session(MemoryRecord("x"))
    client.prompt(session.ensure(client), "!slow 600\n!say x")  # which is no turn's
    eventually(lambda: client.busy(session.ensure(client)))
    turn = Turn(message, session, client, when_busy="wait", deadlines=Deadlines(lease=0.9))

    def lease():
        return message.row["opencode_turn_lease"]

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(turn.run)
        try:
            eventually(lambda: message.state.status is TurnStatus.STREAMING)
            for _ in range(4):  # it says again and again that it lives
                said = lease()
                eventually(lambda said=said: lease() > said)
            assert message.state.prompt_id is None
        finally:
            client.abort(session.ensure(client))
        assert result.result(60).status is TurnStatus.COMPLETED


@pytest.mark.parametrize("rows", ["django-sqlite-sync"], indirect=True)
def test_one_that_was_deleted_meanwhile_here_is_reported_too(rows, server):
    deleted, good = rows.message("hello"), rows.message("hello")
    turns = [partial(turn_of, rows, message, rows.record()) for message in (deleted, good)]
    deleted.delete()  # Django takes the primary key away
    (result,) = rows.run(recovering(rows, server, *turns, on_error=lambda *_: None))
    assert result.status is TurnStatus.COMPLETED
