"""What OpenTelemetry is told of turns on the real server, by the SDK's exporters in memory."""

from __future__ import annotations

import pytest
from fix_telemetry import Told

from opencode_sessions import Answer, Session, Turn, allow, ask
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

ASKING = '!tool bash {"command": "true", "description": "nothing"}\n!say done'


@pytest.fixture
def told():
    with Told() as told:
        yield told


def turn_of(message, client, told, **options):
    session = Session(
        MemoryRecord("A story"),
        permissions_for=[allow("*"), ask("bash")],
        observer=told.telemetry.listener(),
    )
    return Turn(message, session, client, observer=told.telemetry.listener(), **options)


def test_a_turn_is_one_trace_with_its_steps_its_tools_and_what_a_person_was_asked(client, told):
    with told.tracer.start_as_current_span("request") as request:
        message = MemoryMessage(ASKING)
    turn_of(message, client, told, on_ask=lambda _: Answer.once()).run()
    assert told.tree() == {
        "request": {
            "opencode.run": {"opencode.ensure": {}},
            "opencode.ask": {},
            "invoke_agent build": {"chat main": {"execute_tool bash": {}}, "chat main #2": {}},
        }
    }
    assert {span.context.trace_id for span in told.spans} == {request.get_span_context().trace_id}
