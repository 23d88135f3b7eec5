"""One turn in many processes is one trace, over OTLP: from the request to the answer, past a worker that is killed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fix_django_app import wait_until
from fix_otlp import attributes_of
from fix_queues import PATIENCE

DOCS = Path(__file__).parents[2] / "docs" / "telemetry.md"
FILES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE))
OBSERVED = """
from dataclasses import replace

import observe

settings = replace(settings, telemetry=True)
"""
STORY = '!say one two three four five six\n!tool bash {"command": "true", "description": "x"}\n!say done'


@pytest.fixture
def observed(queued, otlp):
    """The app of a queue, whose processes export what they do."""
    (queued.folder / "observe.py").write_text(FILES["observe.py"])
    with (queued.folder / "policy.py").open("a") as policy:
        policy.write(OBSERVED)
    queued.environ |= otlp.environ
    return queued


@pytest.mark.full
@pytest.mark.parametrize("queued", ["celery"], indirect=True)
def test_a_turn_is_one_trace_from_the_request_to_the_answer_through_a_killed_worker(observed, otlp, held):
    (key,) = observed.send(STORY)
    first = observed.work()
    observed.wait(key, lambda row: any("four" in part.get("text", "") for part in row.parts))
    wait_until(lambda: "opencode.turn.queue_delay" in otlp.metrics, PATIENCE)  # which no other run will tell
    observed.kill(first)
    observed.work()
    observed.recover()
    observed.wait(key, lambda row: row.opencode_turn_epoch > 1)
    held.set()
    observed.wait(key, lambda row: row.opencode_turn_parked)
    observed.act("answer", key)
    assert observed.ended(key).status == "completed"
    (turn,) = wait_until(lambda: otlp.named("invoke_agent build"), PATIENCE)
    (request,) = otlp.named("send")
    spans = [span for span in otlp.spans if span.trace_id == request.trace_id]
    names = sorted(span.name for span in spans if span.name not in ("opencode.run", "opencode.ensure"))
    assert names == [
        "chat main",
        "chat main",
        "execute_tool bash",
        "invoke_agent build",
        "opencode.ask",
        "send",
    ]
    outcomes = [attributes_of(span)["opencode.run.outcome"] for span in otlp.named("opencode.run")]
    assert outcomes == ["parked", "finished"], "the first one was killed"
    assert {span.trace_id for span in otlp.named("opencode.run")} == {request.trace_id}
    assert turn.parent_span_id == request.span_id
    assert attributes_of(turn)["opencode.turn.runs"] == 3
    assert turn.end_time_unix_nano > otlp.named("opencode.run")[0].end_time_unix_nano
    wait_until(lambda: "opencode.turn.duration" in otlp.metrics, PATIENCE)
    assert {"opencode.turn.queue_delay", "opencode.ask.duration", "opencode.runs"} <= set(otlp.metrics)
    assert observed.told() == []
