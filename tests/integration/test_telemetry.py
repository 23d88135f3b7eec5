"""What OpenTelemetry is told of turns on the real server, by the SDK's exporters in memory."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import suppress

import pytest
from fix_cli import eventually
from fix_otlp import attributes_of
from fix_telemetry import Told
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from opencode_sessions import Answer, Client, Observer, Session, Turn, allow, ask, errors
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.testing import FaultProxy

ASKING = '!tool bash {"command": "true", "description": "nothing"}\n!say done'
HELD = "!say one two three four five six"
CONTENT = {
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
}


@pytest.fixture
def told():
    with Told() as told:
        yield told


@pytest.fixture
def record():
    return MemoryRecord("A story")


def turn_of(message, record, client, told, **options):
    session = Session(record, permissions_for=[allow("*"), ask("bash")], observer=told.telemetry.listener())
    observers = (told.telemetry.listener(), options.pop("observer", Observer()))
    return Turn(message, session, client, observer=observers, **options)


@pytest.mark.lines
def test_a_turn_is_one_trace_with_its_steps_its_tools_and_what_a_person_was_asked(client, record, told):
    with told.tracer.start_as_current_span("request"):
        message = MemoryMessage(ASKING)
    result = turn_of(message, record, client, told, on_ask=lambda _: Answer.once()).run()
    assert told.tree() == {
        "request": {
            "opencode.run": {"opencode.ensure": {}},
            "opencode.ask": {},
            "invoke_agent build": {"chat main": {"execute_tool bash": {}}, "chat main #2": {}},
        }
    }
    turn = told.span("invoke_agent build").attributes
    key = f"memory:{message.number}"
    assert {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "main",
        "gen_ai.agent.name": "build",
        "gen_ai.conversation.id": result.session_id,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": result.input_tokens,
        "gen_ai.usage.output_tokens": result.output_tokens,
        "opencode.message": key,
        "opencode.turn.status": "completed",
        "opencode.turn.runs": 1,
    }.items() <= turn.items()
    assert told.span("execute_tool bash").attributes["gen_ai.tool.name"] == "bash"
    assert told.span("opencode.ask").attributes["opencode.ask.permission"] == "bash"
    assert told.span("opencode.run").attributes["opencode.run.outcome"] == "finished"
    assert told.span("opencode.ensure").attributes["opencode.session.created"]
    for span in told.spans:
        assert span.start_time <= span.end_time
        assert not CONTENT & set(span.attributes), "it is not switched on"
    assert sum(step.cost for step in result.steps) == result.cost


@pytest.mark.full
def test_what_is_measured_of_a_turn(client, record, told):
    turn_of(MemoryMessage(ASKING), record, client, told, on_ask=lambda _: Answer.once()).run()
    metrics = told.metrics()
    assert {name: len(points) for name, points in metrics.items()} == {
        "gen_ai.client.operation.duration": 1,
        "gen_ai.client.token.usage": 2,
        "opencode.ask.duration": 1,
        "opencode.asks": 1,
        "opencode.cost": 1,
        "opencode.runs": 1,
        "opencode.runs.active": 1,
        "opencode.session.ensure.duration": 1,
        "opencode.turn.duration": 1,
        "opencode.turn.time_to_first_token": 1,
    }
    assert metrics["opencode.runs.active"][0].value == 0
    assert metrics["gen_ai.client.operation.duration"][0].count == 2
    assert metrics["opencode.turn.duration"][0].attributes == {"opencode.turn.status": "completed"}


@pytest.mark.full
def test_content_is_told_if_it_is_switched_on(client, record):
    with Told(content=True) as told:
        turn_of(MemoryMessage(ASKING), record, client, told, on_ask=lambda _: Answer.once()).run()
    turn = told.span("invoke_agent build").attributes
    asked, said = (json.loads(turn[f"gen_ai.{each}.messages"]) for each in ("input", "output"))
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": ASKING}]}]
    assert said == [{"role": "assistant", "parts": [{"type": "text", "content": "done"}]}]
    arguments = told.span("execute_tool bash").attributes["gen_ai.tool.call.arguments"]
    assert json.loads(arguments)["command"] == "true"


def test_a_turn_that_is_taken_up_is_one_trace_and_a_message_without_a_span_begins_it(
    client, record, told, held, caplog
):
    caplog.set_level(logging.INFO, "opencode_sessions.turn")
    seen = []
    caplog.handler.addFilter(lambda _: seen.append(trace.get_current_span().get_span_context()) or True)
    message = MemoryMessage(HELD)
    turn = turn_of(message, record, client, told)

    def lose():
        with pytest.raises(errors.TurnReleasedError):
            turn.run()

    thread = threading.Thread(target=lose)
    thread.start()
    eventually(lambda: message.state.content)
    turn.release()
    held.set()
    thread.join(60)
    turn_of(message, record, client, told).run()
    assert told.tree() == {
        "opencode.message": {
            "opencode.run": {"opencode.ensure": {}},
            "opencode.run #2": {},
            "invoke_agent build": {"chat main": {}},
        }
    }
    first, second = (span for span in told.spans if span.name == "opencode.run")
    assert first.attributes["opencode.run.outcome"] == "released"
    assert told.span("invoke_agent build").start_time < second.start_time
    assert {each.span_id for each in seen} == {first.context.span_id, second.context.span_id}, (
        "log records come inside of the runs"
    )
    assert not trace.get_current_span().get_span_context().is_valid
    assert told.metrics()["opencode.runs.active"][0].value == 0


@pytest.mark.full
def test_a_gap_and_a_prompt_that_is_sent_again_are_counted(client, server, record, told):
    gone = Session(record).ensure(client)

    class Deletes(Observer):
        def started(self, session_id, prompt_id):
            if session_id == gone:
                client.delete(gone)

    turn_of(MemoryMessage("hello"), record, client, told, observer=Deletes()).run()
    assert told.metrics()["opencode.prompt.resends"][0].value == 1
    assert "opencode.recreate" in {span.name for span in told.spans}
    with FaultProxy(server.url) as proxy, Client(proxy.url, password=server.password) as cut:

        def answer(_):
            proxy.cut()
            eventually(lambda: "opencode.stream.gaps" in told.metrics())
            return Answer.once()

        turn_of(MemoryMessage(ASKING), record, cut, told, on_ask=answer).run()


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_the_status_of_a_span_says_what_went_wrong(client, record, told, how):
    message = MemoryMessage("!error 400 no" if how == "fails" else "never")
    turn = turn_of(message, record, client, told)
    if how == "fails":
        turn.run()
    else:
        turn.cancel(by="ada")
    (span,) = (span for span in told.spans if span.name.startswith("invoke_agent"))
    failed = how == "fails"
    assert span.status.status_code.name == ("ERROR" if failed else "UNSET")
    assert span.attributes["opencode.turn.status"] == ("failed" if failed else "cancelled")
    assert ("error.type" in span.attributes) == failed
    assert span.attributes["opencode.turn.runs"] == (1 if failed else 0)


def test_a_run_that_an_error_ends_says_its_type_and_not_its_text(record, told):
    with Client("http://127.0.0.1:1") as nowhere, suppress(errors.ServerUnreachableError):
        turn_of(MemoryMessage("hello"), record, nowhere, told).run()
    run = told.span("opencode.run")
    assert (run.status.status_code.name, run.attributes["error.type"]) == ("ERROR", "ServerUnreachableError")
    assert run.events == ()


def test_a_session_that_is_ensured_without_a_turn_has_a_span(client, record, told):
    session = Session(record, observer=told.telemetry.listener())
    with told.tracer.start_as_current_span("request"):
        first = session.ensure(client)
        session.recreate(client, stale=first)
    assert told.tree() == {"request": {"opencode.ensure": {}, "opencode.recreate": {}}}


def test_spans_can_be_read_as_they_come_over_otlp(client, record, otlp):
    with Told(OTLPSpanExporter(f"{otlp.url}/v1/traces")) as told:
        turn_of(MemoryMessage("hello"), record, client, told).run()
    (turn,) = otlp.named("invoke_agent build")
    (step,) = otlp.named("chat main")
    assert (step.trace_id, step.parent_span_id) == (turn.trace_id, turn.span_id)
    assert attributes_of(step)["gen_ai.operation.name"] == "chat"
    assert attributes_of(turn)["gen_ai.usage.output_tokens"] > 0
