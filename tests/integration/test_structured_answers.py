"""An answer that is data: what the model is told, what the row holds, and what its class makes of it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from datetime import date
from enum import Enum

import pydantic
import pytest
from fix_cli import eventually
from model_bodies import bodies_asked
from selection import sample
from turn_runners import Runners

from opencode_sessions import Client, Session, Turn, aio, allow, errors, recover
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import Call, Rule, Script, Step

TRIP = {
    "title": "South",
    "stops": [{"city": "Rome", "nights": 2}, {"city": "Bari", "note": "by the sea 🌊"}],
}


@dataclass
class Stop:
    city: str
    nights: int = 1
    note: str | None = None


@dataclass
class Trip:
    title: str
    stops: list[Stop] = field(default_factory=list)
    budget: float | None = None


class StopModel(pydantic.BaseModel):
    city: str
    nights: int = 1
    note: str | None = None


class TripModel(pydantic.BaseModel):
    title: str
    stops: list[StopModel]
    budget: float | None = None


JSON_SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "stops": {"type": "array", "items": {"type": "object"}}},
    "required": ["title", "stops"],
}

SHAPES = {
    "JSON schema": (JSON_SCHEMA, TRIP),
    "pydantic model": (
        TripModel,
        TripModel(
            title="South",
            stops=[StopModel(city="Rome", nights=2), StopModel(city="Bari", note="by the sea 🌊")],
        ),
    ),
    "dataclass": (Trip, Trip("South", [Stop("Rome", 2), Stop("Bari", 1, "by the sea 🌊")])),
}


def answering(data):
    """A prompt that has the model give this answer."""
    return f"!tool StructuredOutput {json.dumps(data)}"


@pytest.fixture
def session():
    return Session(MemoryRecord("Structured"), permissions_for=lambda _: [allow("*")])


@pytest.mark.parametrize("shape", sample(SHAPES, "JSON schema", "pydantic model"))
def test_an_answer_is_data_in_the_row_and_an_instance_for_the_caller(client, session, shape):
    schema, value = SHAPES[shape]
    message = MemoryMessage(answering(TRIP))
    result = Turn(message, session, client, schema=schema).run()
    assert (result.status, result.error, result.content) == (TurnStatus.COMPLETED, None, "")
    assert result.structured == TRIP
    assert result.value == value
    assert type(result.value) is type(value)
    call, data = message.state.parts
    assert (call["type"], call["tool"], call["input"]) == ("tool", "StructuredOutput", TRIP)
    assert data == {"type": "structured", "data": TRIP}
    assert result.parts == list(message.state.parts)


@pytest.mark.parametrize("shape", ["pydantic model", "dataclass"])
def test_the_model_is_told_the_schema_and_has_to_answer_by_it(client, session, shape):
    with bodies_asked() as bodies:
        Turn(MemoryMessage(answering(TRIP)), session, client, schema=SHAPES[shape][0]).run()
    (asked,) = bodies
    (told,) = [
        tool["function"]["parameters"]
        for tool in asked["tools"]
        if tool["function"]["name"] == "StructuredOutput"
    ]
    assert asked["tool_choice"] == "required"
    assert told["properties"].keys() == {"title", "stops", "budget"}
    stop = told["properties"]["stops"]["items"]["$ref"].rpartition("/")[2]
    assert told["$defs"][stop]["required"] == ["city"]


def test_words_and_tools_before_the_data_are_kept_beside_it(client, session):
    prompt = f'!tool todowrite {{"todos": []}}\n!reason hm\n!say I have looked\n{answering(TRIP)}'
    result = Turn(MemoryMessage(prompt), session, client, schema=Trip).run()
    assert result.content == "I have looked"
    assert [part["type"] for part in result.parts] == ["tool", "reasoning", "text", "tool", "structured"]
    assert result.value.title == "South"


@pytest.mark.parametrize("data", sample([{"title": 3, "stops": "none"}, {}]), ids=["of other types", "empty"])
@pytest.mark.parametrize("shape", sample(["pydantic model", "dataclass"]))
def test_data_that_does_not_fit_is_kept_and_refused_only_when_the_instance_is_wanted(
    client, session, shape, data
):
    message = MemoryMessage(answering(data))
    result = Turn(message, session, client, schema=SHAPES[shape][0]).run()
    assert result.status is TurnStatus.COMPLETED
    with pytest.raises(pydantic.ValidationError, match="title"):
        _ = result.value
    assert result.structured == data
    assert message.state.parts[-1] == {"type": "structured", "data": data}


def test_words_instead_of_data_fail_the_turn_and_are_kept(client, session):
    message = MemoryMessage("!say I would rather talk about it")
    result = Turn(message, session, client, schema=Trip).run()
    assert (result.status, result.error["name"]) == (TurnStatus.FAILED, "StructuredOutputError")
    assert message.state.error == result.error
    assert result.content == "I would rather talk about it"
    assert (result.structured, result.value) == (None, None)


@pytest.mark.full
def test_a_turn_that_has_ended_gives_the_same_value_from_its_row(client, session, carried, make_bench):
    bench = make_bench("sqlalchemy-sqlite-sync")
    message = bench.message(answering(TRIP))
    first = Turn(message, session, client, schema=Trip).run()
    carried.clear()
    again = Turn(bench.another(message), session, client, schema=Trip).run()
    assert carried == []
    assert first.value == again.value == SHAPES["dataclass"][1]
    plain = Turn(bench.another(message), session, client).run()
    assert (plain.structured, plain.value) == (TRIP, None)


def test_the_conversation_goes_on_after_a_structured_answer(client, session):
    """Though the server cannot list its messages any more."""
    kinds = [(answering(TRIP), Trip), ("and now in words", None), (answering({"title": "North"}), Trip)]
    results = [Turn(MemoryMessage(prompt), session, client, schema=schema).run() for prompt, schema in kinds]
    assert [result.status for result in results] == [TurnStatus.COMPLETED] * 3
    assert [result.structured for result in results] == [TRIP, None, {"title": "North"}]
    assert results[1].content.startswith('You said: "and now in words".')
    assert results[2].value == Trip("North")
    with pytest.raises(errors.BadRequestError):
        list(client.messages(results[0].session_id))


def test_the_async_face_gives_the_same(server):
    async def main():
        async with aio.Client(server.url, password=server.password) as client:
            session = aio.Session(MemoryRecord("Structured"), permissions_for=lambda _: [allow("*")])
            return await aio.Turn(MemoryMessage(answering(TRIP)), session, client, schema=Trip).run()

    assert asyncio.run(main()).value == SHAPES["dataclass"][1]


# -- taken up --------------------------------------------------------------------------------------------


@pytest.fixture
def left(make_bench, held):
    """Call it with a server: a message whose runner dies over its answer, and its record."""
    bench = make_bench("sqlalchemy-sqlite-sync")

    def leave(server, prompt):
        message, record = bench.message(prompt), bench.record()
        with Runners() as runners:
            runner = runners.start(bench, server, message, record, lease=0.5, schema=JSON_SCHEMA)
            eventually(lambda: bench.row(message)["parts"])
            runners.kill(runner)
        held.set()
        return message, record

    return leave


def taken_up(message, record, client):
    """The end of a turn that was left behind, when its lease has run out."""
    session = Session(record, permissions_for=lambda _: [allow("*")])
    turn = Turn(message, session, client, schema=Trip)
    (result,) = eventually(lambda: list(recover([turn])))
    return result


@pytest.fixture
def asked(scripted_model, monkeypatch):
    """What the model is asked, which it answers at once but for the first time: then it thinks aloud without end."""
    asked = []

    def answer(request):
        asked.append(request.prompts)
        pause = 1.0 if len(asked) == 1 else 0.0
        call = Call("StructuredOutput", TRIP)
        return Script(Step(reason="hm " * 300, calls=(call,), pause=pause))

    monkeypatch.setattr(scripted_model, "rules", (Rule(when="where to?", reply=answer),))
    return asked


@pytest.mark.full
def test_an_answer_whose_runner_died_over_it_is_taken_up(client, server, left):
    """The message of a prompt with a schema cannot be read, so whether it was sent is told by another way."""
    message, record = left(server, f"!reason one two three four five\n{answering(TRIP)}")
    with bodies_asked() as again:
        result = taken_up(message, record, client)
    assert (result.status, result.value) == (TurnStatus.COMPLETED, SHAPES["dataclass"][1])
    assert again == []


@pytest.mark.full
def test_an_answer_over_which_the_server_died_too_is_resumed(own_server, asked, left):
    server = own_server()
    message, record = left(server, "where to?")
    server.kill()
    server.restart()
    assert len(asked) == 1
    with Client(server.url, password=server.password) as client:
        result = taken_up(message, record, client)
    assert (result.status, result.value) == (TurnStatus.COMPLETED, SHAPES["dataclass"][1])
    assert len(asked) > 1
    assert set(asked) == {("where to?",)}  # the prompt is not doubled


# -- classes ---------------------------------------------------------------------------------------------


class Season(Enum):
    SUMMER = "summer"


class Plan(pydantic.BaseModel):
    since: date
    season: Season
    tags: set[str]
    stop: Stop | None = None


PLAN = {"since": "2026-07-01", "season": "summer", "tags": ["sea"], "stop": {"city": "Bari"}}


@pytest.mark.full
def test_types_that_json_does_not_have_are_made_of_those_that_it_has(client, session):
    result = Turn(MemoryMessage(answering(PLAN)), session, client, schema=Plan).run()
    assert result.value == Plan(since=date(2026, 7, 1), season=Season.SUMMER, tags={"sea"}, stop=Stop("Bari"))


@pytest.mark.full
def test_a_strict_model_takes_a_date_from_json(client, session):
    class StrictPlan(Plan, strict=True):
        pass

    result = Turn(MemoryMessage(answering(PLAN)), session, client, schema=StrictPlan).run()
    assert result.value.since == date(2026, 7, 1)


@pytest.mark.parametrize("schema", [list[int], int, Trip("x"), "Trip", dict], ids=str)
def test_what_is_no_shape_is_refused_with_what_it_may_be(client, session, schema):
    with pytest.raises(
        errors.ConfigurationError, match="a JSON schema, a model of pydantic's or a dataclass"
    ):
        Turn(MemoryMessage("x"), session, client, schema=schema)


def test_a_dataclass_without_pydantic_is_refused_with_what_to_do(client, session, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(errors.ConfigurationError, match="install pydantic; or pass the schema"):
        Turn(MemoryMessage("x"), session, client, schema=Trip)


def test_a_dataclass_of_which_no_schema_can_be_made_is_refused(client, session):
    @dataclass
    class Unfinished:
        part: NotDefinedYet  # noqa: F821 - that is what is wrong with it

    with pytest.raises(errors.ConfigurationError, match="Unfinished"):
        Turn(MemoryMessage("x"), session, client, schema=Unfinished)
