"""What telemetry costs: the same recorded turn without it, with the API of OpenTelemetry alone, and with an SDK."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from bench.recording import Recording, record
from bench.replay import replaying
from opencode_sessions import Client, OpencodeServer, Session, Turn, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.telemetry import Telemetry

_ROUNDS = 60
"""Turns of each kind, by turns: a machine that grows slower does so for all kinds."""


class Counting(SpanExporter):
    """Encodes nothing and sends nothing: that is the exporter's own cost."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


def measure(server: OpencodeServer) -> list[tuple[str, ...]]:
    exporter, recording = Counting(), record(server)
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    kinds = {
        "without": None,
        "on, and no SDK": Telemetry(),
        "on, with an SDK": Telemetry(tracer_provider=tracers, meter_provider=meters),
    }
    logging.getLogger("opencode_sessions").setLevel(logging.ERROR)
    cpu = _cpu(kinds, recording)
    tracers.force_flush()
    spans = {"on, with an SDK": f"{exporter.spans / (_ROUNDS + 1):.0f}"}
    plain = cpu["without"]
    rows = (
        (name, f"{each * 1e3:.2f}", f"{each / plain:.3f}", spans.get(name, "")) for name, each in cpu.items()
    )
    return [("telemetry", "CPU, ms", "to without", "spans"), *rows]


def _cpu(kinds: dict[str, Telemetry | None], recording: Recording) -> dict[str, float]:
    """Seconds of one turn, the median of many: the threads of the client and of the SDK count, too."""
    took: dict[str, list[float]] = {name: [] for name in kinds}
    names = list(kinds)
    with replaying(recording) as url, Client(url) as client:
        for round_ in range(_ROUNDS + 1):
            names = [*names[1:], names[0]]  # what comes first in a round pays for more
            for name in names:
                began = time.process_time()
                _turn(client, kinds[name], recording.text)
                if round_:  # the first one opens connections
                    took[name].append(time.process_time() - began)
    return {name: sorted(each)[len(each) // 2] for name, each in took.items()}


def _turn(client: Client, telemetry: Telemetry | None, text: str) -> None:
    listener = None if telemetry is None else telemetry.listener()
    message = MemoryMessage("1 of 1")
    session = Session(MemoryRecord("bench"), permissions_for=lambda _: [allow("*")])
    result = Turn(message, session, client, observer=listener).run()
    if result.content != text:
        raise RuntimeError(f"the turn went wrong: {result}")
