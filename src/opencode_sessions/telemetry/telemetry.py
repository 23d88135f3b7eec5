"""`Telemetry`: what a host switches on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from opencode_sessions.store.origin import begin_traces_with
from opencode_sessions.store.turn_table import ServerCount, TurnCounts
from opencode_sessions.telemetry.listener import TurnTelemetry
from opencode_sessions.telemetry.metrics import Instruments

__all__ = ["Telemetry"]
_NAME = "opencode_sessions"


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """Spans and metrics of turns and sessions.

    Attributes:
        content: Whether spans say what was asked and answered, and what tools were given and gave. By default they do
            not: it can be confidential, and long.
        tracer_provider: By default the global one.
        meter_provider: Likewise.
    """

    content: bool = False
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None
    tracer: Tracer = field(init=False, repr=False, compare=False)
    instruments: Instruments = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        meter = metrics.get_meter(_NAME, meter_provider=self.meter_provider)
        object.__setattr__(self, "tracer", trace.get_tracer(_NAME, tracer_provider=self.tracer_provider))
        object.__setattr__(self, "instruments", Instruments(meter))
        begin_traces_with(self._begin)

    def listener(self) -> TurnTelemetry:
        """A new one for each `Turn`, as its `observer`, and for each `Session`. A host's turns have theirs."""
        return TurnTelemetry(self.tracer, self.instruments, content=self.content)

    def count(self, counts: TurnCounts) -> None:
        """Tell how many turns have not ended."""
        for state, number in counts._asdict().items():
            self.instruments.turns.set(number, {"opencode.turn.state": state})

    def count_servers(self, counts: Iterable[ServerCount]) -> None:
        """Tell how each server does."""
        for each in counts:
            server = {"opencode.server": each.name}
            self.instruments.server_turns.set(each.running, server)
            self.instruments.server_load.set(each.load, server)
            self.instruments.server_up.set(int(each.healthy), server)
            if each.places is not None:
                self.instruments.server_places.set(each.places, server)

    def _begin(self) -> str | None:
        """The trace of a message that is made outside of any span begins with a short span of its own."""
        span = self.tracer.start_span("opencode.message", kind=SpanKind.PRODUCER)
        span.end()
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span))
        return carrier.get("traceparent")
