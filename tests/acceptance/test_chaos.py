"""A short round of chaos keeps every promise, and one that is broken is seen. `make chaos` is the long run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fix_cli import eventually
from sqlalchemy import delete, update
from sqlalchemy.orm import Session as Database

from opencode_sessions.files.ports import Artifact, Due, FileKind
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.turn_table import TurnJob

SEED = 361

LOST = {
    "id": "prt_1",
    "type": "tool",
    "tool": "write",
    "status": "completed",
    "input": {"filePath": "x/lost.txt"},
}

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def chaos():
    """The harness, which is a program of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        from chaos import checks, crew, host, plan, round, stage  # noqa: A004, PLC0415  # not on the path before

        yield SimpleNamespace(
            check=checks.check,
            Crew=crew.Crew,
            Conversation=host.Conversation,
            Message=host.Message,
            TABLES=host.TABLES,
            Plan=plan.Plan,
            Size=plan.Size,
            Round=round.Round,
            Stage=stage.Stage,
        )


@pytest.fixture(scope="module", params=["1", "2"], ids=["line 1", "line 2"])
def ended(chaos, request):
    """A round that is over, on a stage that still stands."""
    size = chaos.Size(records=4, messages=2, workers=2, seconds=6.0, line=request.param)
    plan = chaos.Plan.of(SEED, 0, size)
    with chaos.Stage(SEED, request.param) as stage, chaos.Crew() as crew:
        round_ = chaos.Round(plan, stage, crew)
        outcome = round_.run()
        (client,) = stage.clients.values()
        (deaths,) = stage.deaths.values()
        yield SimpleNamespace(
            stage=stage, keys=round_.keys, outcome=outcome, plan=plan, client=client, deaths=deaths
        )


@pytest.fixture
def rewritten(chaos, ended):
    """Call it to write into the row of a completed turn; in the end the row is as it was."""
    undo = []

    def write(key, **values):
        with ended.stage.engines[key[0]].begin() as connection:
            table = chaos.Message.__table__
            row = connection.execute(table.select().where(table.c.id == key[1])).mappings().one()
            undo.append((key, {name: row[name] for name in values}))
            connection.execute(update(table).where(table.c.id == key[1]).values(values))

    yield write
    for key, values in undo[:]:
        write(key, **values)


def test_whatever_dies_every_prompt_is_there_once_and_every_answer_is_in_its_row(ended):
    assert ended.outcome.violations == []
    assert sum(ended.outcome.turns.values()) == len(ended.plan.asked)
    assert ended.outcome.turns["completed"]
    assert {fault.lane for _, fault in ended.outcome.faults} >= {"server", "wire", "rows", "database"}


def test_equal_seeds_plan_equal_rounds_and_others_do_not(chaos, ended):
    again = chaos.Plan.of(SEED, 0, ended.plan.size)
    assert again == ended.plan
    assert chaos.Plan.of(SEED, 1, ended.plan.size).faults != again.faults
    without = chaos.Plan.of(SEED, 0, ended.plan.size, lanes=["wire"])
    assert without.faults == tuple(again.lane("wire"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"content": "something else"}, "its content"),
        ({"parts": []}, "its parts"),
        ({"parts": [LOST]}, "lost.txt is neither attached nor reported"),
        ({"status": "streaming"}, "it is streaming"),
        ({"asks": [{"id": "per_1"}]}, "it asks still"),
        ({"opencode_prompt_id": "msg_other"}, "its prompt is in"),
        ({"status": "failed", "error": {"name": "NoAnswer"}}, "nothing explains it"),
        ({"status": "cancelled", "error": {"by": "the clerk"}}, "nobody wanted that"),
    ],
    ids=lambda value: " and ".join(value) if isinstance(value, dict) else "",
)
def test_a_promise_that_was_broken_is_seen(chaos, ended, rewritten, values, said):
    key = _completed(chaos, ended)
    rewritten(key, **values)
    found = chaos.check(ended.stage, ended.keys, ended.outcome)
    assert any(said in violation.what and violation.message == key for violation in found)


def test_a_file_that_no_turn_made_is_seen_and_one_that_is_due(chaos, ended):
    kind, key = _completed(chaos, ended)
    store, message = ended.stage.artifacts[kind].store, f"messages:{key}"

    async def content():
        yield b"bytes"

    run_sync(
        store.expect(Due(TurnJob("messages", str(key), kind, ""), message, "none", "none"), look_after=60)
    )
    artifact = Artifact(message=message, record="conversations:0", path="foreign.txt", kind=FileKind.CREATED)
    found = {each.id for each in run_sync(store.list(message))}
    run_sync(store.put(artifact, content()))
    try:
        seen = {each.what for each in chaos.check(ended.stage, ended.keys, ended.outcome)}
        for said in ("files are due still", "is of conversations:0", "and its turn did not do that"):
            assert any(said in what for what in seen), said
    finally:
        with ended.stage.engines[kind].begin() as connection:
            connection.execute(delete(chaos.TABLES.due))
            table = chaos.TABLES.artifacts
            connection.execute(
                delete(table).where(table.c.message == message, table.c.artifact_id.not_in(found))
            )


@pytest.mark.parametrize(
    ("shown", "said"),
    [({"status": "failed"}, "it is failed"), ({"text": "something else"}, "its content is")],
    ids=["status", "text"],
)
def test_a_turn_that_was_shown_otherwise_than_it_ended_is_seen(chaos, ended, shown, said):
    kind, key = _completed(chaos, ended)
    note = {"who": "web 0", "what": "watched", "message": f"{kind}:{key}", "status": "completed", "text": ""}
    ended.outcome.notes.append({**note, **shown})
    found = list(chaos.check(ended.stage, ended.keys, ended.outcome))
    ended.outcome.notes.pop()
    assert any(said in violation.what and "web 0 showed" in violation.what for violation in found)


def test_a_session_on_another_server_than_its_row_names_is_seen(chaos, ended):
    kind, key = _completed(chaos, ended)
    with Database(ended.stage.engines[kind]) as database:
        record = database.get_one(chaos.Conversation, database.get_one(chaos.Message, key).conversation_id)
        record.opencode_server = "b"
        database.commit()
        found = list(chaos.check(ended.stage, ended.keys, ended.outcome))
        record.opencode_server = None
        database.commit()
    assert any("names server b, and another one has its session" in violation.what for violation in found)


def test_an_orphan_is_seen(chaos, ended):
    session = ended.client.create()
    try:
        found = chaos.check(ended.stage, ended.keys, ended.outcome)
        assert any(f"no row names session {session.id}" in violation.what for violation in found)
    finally:
        ended.client.delete(session.id)


def test_a_model_that_was_asked_twice_is_seen(chaos, ended):
    tags = {asked.tag for asked in ended.keys}
    call = next(
        (at, place, tag)
        for at, place, tag in ended.stage.asked
        if tag in tags and not any(died <= at <= back for died, back in ended.deaths)
    )
    ended.stage.asked.append(call)
    found = list(chaos.check(ended.stage, ended.keys, ended.outcome))
    ended.stage.asked.pop()
    assert any(f"{call[2]}: the model was asked the same twice" in violation.what for violation in found)


def test_a_prompt_that_was_said_twice_is_seen(chaos, ended):
    key = _completed(chaos, ended)
    with Database(ended.stage.engines[key[0]]) as database:
        row = database.get_one(chaos.Message, key[1])
    ended.client.prompt(row.opencode_prompt_session_id, row.prompt.splitlines()[0])

    def found():
        violations = chaos.check(ended.stage, ended.keys, ended.outcome)
        return any("its prompt was said 2 times" in violation.what for violation in violations)

    eventually(found)  # it is accepted before it is stored


def _completed(chaos, ended):
    """The key of a turn that nobody was to cancel."""
    for asked, (kind, key) in ended.keys.items():
        with Database(ended.stage.engines[kind]) as database:
            row = database.get_one(chaos.Message, key)
            if row.status == "completed" and asked.cancel is None and row.content:
                return kind, key
    raise AssertionError("no turn completed")
