"""`TurnTelemetry`: the listener of one turn. It makes spans and counts.

    the span in which the message was made ─ opencode.message, if there was none
     ├─ opencode.run              a run of the turn; current while it lasts, so log records bear its ids
     │   └─ opencode.ensure       the session is looked up, or made
     ├─ opencode.ask              from the ask to the answer, whoever ran the turn then
     └─ invoke_agent …            the turn, from its enqueuing to the stored end: made at its end, by who saw that
         └─ chat …                a step: one answer of the model
             └─ execute_tool …    a tool call

A span cannot begin in one process and end in another. So the turn's own span, its steps and tool calls are made when
the turn has ended, from what the row has, with the times that the server has stored: they are whole and there once,
however many runs there were, and whichever of them were killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Token
from datetime import datetime
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from opencode_sessions.protocol.events import StoredMessage
from opencode_sessions.sessions.events import Action
from opencode_sessions.telemetry.attributes import (
    AGENT,
    CHAT,
    TOOL,
    error_of,
    model_of,
    of_step,
    of_tool,
    of_turn,
    output_of,
    tokens_of,
)
from opencode_sessions.telemetry.metrics import Instruments
from opencode_sessions.turns.asks import Ask
from opencode_sessions.turns.events import Reason, ReplyChanged, TurnEvent, TurnFound
from opencode_sessions.turns.observers import Observer
from opencode_sessions.turns.results import TurnResult

__all__ = ["TurnTelemetry"]


class TurnTelemetry(Observer):
    """Made by `Telemetry.listener`."""

    def __init__(self, tracer: Tracer, instruments: Instruments, *, content: bool) -> None:
        self._tracer = tracer
        self._metrics = instruments
        self._content = content
        self._turn: TurnFound | None = None
        self._parent: Context | None = None
        self._found_at = 0
        self._number = 0
        self._sends = 0
        self._run: Span = trace.INVALID_SPAN
        self._attached: Token[Context] | None = None

    def __call__(self, event: TurnEvent) -> object:
        """See `Observer`. There is an event for each piece of the answer, and nothing to tell of it."""
        return None if isinstance(event, ReplyChanged) else super().__call__(event)

    def found(self, turn: TurnFound) -> None:
        """See `TurnFound`."""
        self._turn = turn
        self._found_at = time.time_ns()
        self._parent = context.get_current()
        if turn.trace is not None:
            self._parent = TraceContextTextMapPropagator().extract({"traceparent": turn.trace})

    def taken(self, run: int) -> None:
        """See `TurnTaken`."""
        self._number, self._sends = run, 0
        attributes = {**self._names, "opencode.run": run}
        self._run = self._tracer.start_span("opencode.run", self._parent, SpanKind.CONSUMER, attributes)
        with_run = trace.set_span_in_context(self._run)
        if not trace.get_current_span(self._parent).get_span_context().is_valid:
            self._parent = with_run
        self._attached = context.attach(with_run)
        self._metrics.active.add(1)
        if run == 1 and self._turn is not None and self._turn.enqueued_at is not None:
            delay = time.time() - self._turn.enqueued_at.timestamp()
            self._metrics.queue_delay.record(max(delay, 0.0))

    def ensured(self, action: Action, record: str, session_id: str, created: bool, seconds: float) -> None:  # noqa: FBT001 - the observer's
        """See `SessionEnsured`."""
        now = time.time_ns()
        attributes: dict[str, Any] = {
            "gen_ai.conversation.id": session_id,
            "opencode.record": record,
            "opencode.session.created": created,
        }
        began = now - _nanoseconds(seconds)
        self._tracer.start_span(
            f"opencode.{action}", None, SpanKind.CLIENT, attributes, start_time=began
        ).end(now)
        self._metrics.ensure_duration.record(
            seconds, {"opencode.action": action, "opencode.session.created": created}
        )

    def started(self, session_id: str, prompt_id: str) -> None:
        """See `TurnStarted`."""
        self._sends += 1
        self._run.set_attribute("gen_ai.conversation.id", session_id)
        self._run.add_event("opencode.prompt", {"opencode.prompt.id": prompt_id})
        if self._sends > 1:
            self._metrics.resends.add(1)

    def recovered(self, session_id: str, prompt_id: str) -> None:
        """See `TurnRecovered`."""
        self._run.set_attribute("gen_ai.conversation.id", session_id)
        self._run.add_event("opencode.recovered", {"opencode.prompt.id": prompt_id})

    def first_token(self, seconds: float) -> None:
        """See `FirstToken`."""
        self._run.add_event("opencode.first_token")
        self._metrics.first_token.record(seconds)

    def asked(self, ask: Ask) -> None:
        """See `AskRaised`."""
        self._run.add_event("opencode.asked", {"opencode.ask.id": ask.id})
        self._metrics.asks.add(1, {"opencode.ask.kind": ask.kind})

    def answered(self, ask: Ask) -> None:
        """See `AskAnswered`."""
        kind = {"opencode.ask.kind": ask.kind}
        attributes = {
            **self._names,
            **kind,
            "opencode.ask.id": ask.id,
            "opencode.ask.permission": ask.permission,
        }
        began = _moment(datetime.fromisoformat(ask.asked_at))
        span = self._tracer.start_span("opencode.ask", self._parent, attributes=attributes, start_time=began)
        span.end()
        self._metrics.ask_duration.record(ask.age, kind)

    def gap(self, reason: str) -> None:
        """See `EventsMissed`."""
        self._run.add_event("opencode.gap", {"opencode.reason": reason})
        self._metrics.gaps.add(1)

    def finished(self, result: TurnResult) -> None:
        """See `TurnFinished`."""
        self._end_run("finished")
        self._end_turn(result)

    def left(self, reason: Reason, error: BaseException) -> None:
        """See `TurnLeft`."""
        if reason == "error":
            self._run.set_attribute("error.type", type(error).__name__)
            self._run.set_status(StatusCode.ERROR)
            if self._content:  # what a database raises can say what was to be stored
                self._run.record_exception(error)
        self._end_run(reason)

    def dropped(self, result: TurnResult) -> None:
        """See `TurnDropped`."""
        self._end_turn(result)

    @property
    def _names(self) -> dict[str, Any]:
        if self._turn is None:
            return {}
        return {"opencode.message": self._turn.key, "opencode.record": self._turn.record}

    def _end_run(self, outcome: str) -> None:
        self._run.set_attribute("opencode.run.outcome", outcome)
        self._run.end()
        if self._attached is not None:
            context.detach(self._attached)
            self._attached = None
        self._metrics.active.add(-1)
        self._metrics.runs.add(1, {"opencode.run.outcome": outcome})

    def _end_turn(self, result: TurnResult) -> None:
        turn, now = self._turn, time.time_ns()
        began = (turn and (turn.enqueued_at or turn.started_at)) or None
        start = min(_moment(began) if began is not None else self._found_at, now)
        self._measure(result, (now - start) / 1e9)
        attributes = {**self._names, **of_turn(result), "opencode.turn.runs": self._number}
        name = f"{AGENT} {attributes.get('gen_ai.agent.name', '')}".strip()
        span = self._tracer.start_span(name, self._parent, SpanKind.CLIENT, attributes, start_time=start)
        if span.is_recording():
            if error_of(result) is not None:
                span.set_status(StatusCode.ERROR)
            if self._content and turn is not None:
                asked = [{"role": "user", "parts": [{"type": "text", "content": turn.prompt}]}]
                span.set_attribute("gen_ai.input.messages", json.dumps(asked))
                span.set_attribute("gen_ai.output.messages", output_of(result.parts))
            self._draw_steps(span, result, now)
        span.end(now)

    def _draw_steps(self, turn: Span, result: TurnResult, now: int) -> None:
        for step in result.steps:
            inside = trace.set_span_in_context(turn)
            span = self._tracer.start_span(
                f"{CHAT} {step.model or ''}".strip(),
                inside,
                SpanKind.CLIENT,
                of_step(step),
                start_time=_start(step.time, "created", now),
            )
            parts = [part for part in result.parts if part.get("message_id") == step.id]
            if step.error is not None:
                span.set_status(StatusCode.ERROR)
            if self._content:
                span.set_attribute("gen_ai.output.messages", output_of(parts))
            for part in parts:
                if part.get("type") == "tool":
                    self._draw_tool(span, part, now)
            span.end(_start(step.time, "completed", now))

    def _draw_tool(self, step: Span, part: Mapping[str, Any], now: int) -> None:
        times = part.get("time") or {}
        span = self._tracer.start_span(
            f"{TOOL} {part.get('tool')}",
            trace.set_span_in_context(step),
            SpanKind.INTERNAL,
            of_tool(part, content=self._content),
            start_time=_start(times, "start", now),
        )
        if part.get("status") == "error":
            span.set_status(StatusCode.ERROR)
        span.end(_start(times, "end", now))

    def _measure(self, result: TurnResult, seconds: float) -> None:
        metrics, last = self._metrics, (result.steps[-1] if result.steps else None)
        status = {"opencode.turn.status": str(result.status)}
        error = error_of(result)
        metrics.turn_duration.record(seconds, {**status, **({} if error is None else {"error.type": error})})
        metrics.cost.add(max(result.cost, 0.0), model_of(last))
        for step in result.steps:
            self._measure_step(step)

    def _measure_step(self, step: StoredMessage) -> None:
        names = {"gen_ai.operation.name": CHAT, **model_of(step)}
        tokens = tokens_of([step])
        for kind in ("input", "output"):
            count = tokens[f"gen_ai.usage.{kind}_tokens"]
            self._metrics.token_usage.record(count, {**names, "gen_ai.token.type": kind})
        with suppress(KeyError):  # one that was cut short has no end
            took = (step.time["completed"] - step.time["created"]) / 1000
            self._metrics.operation_duration.record(max(took, 0.0), names)


def _start(times: Mapping[str, int], name: str, otherwise: int) -> int:
    """The server's milliseconds as nanoseconds."""
    return times[name] * 1_000_000 if name in times else otherwise


def _moment(when: datetime) -> int:
    return _nanoseconds(when.timestamp())


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
