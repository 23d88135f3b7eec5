"""The instruments. docs/telemetry.md lists them; the dashboard and the alert rules are checked against their names."""

from __future__ import annotations

from opentelemetry.metrics import Meter

__all__ = ["Instruments"]

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_PERSON = (1, 5, 15, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_MODEL = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class Instruments:
    """Those of one meter."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, description: str, buckets: tuple[float, ...] = _SECONDS):  # type: ignore[no-untyped-def]  # noqa: ANN202 - what the meter makes
            return meter.create_histogram(
                name, unit="s", description=description, explicit_bucket_boundaries_advisory=buckets
            )

        self.turn_duration = seconds(
            "opencode.turn.duration", "From the enqueuing of a turn to its stored end, waiting included"
        )
        self.queue_delay = seconds(
            "opencode.turn.queue_delay", "From the enqueuing of a turn to its first run"
        )
        self.first_token = seconds(
            "opencode.turn.time_to_first_token", "From the prompt to the first text, thought or tool call"
        )
        self.ask_duration = seconds("opencode.ask.duration", "From an ask to its answer", _PERSON)
        self.ensure_duration = seconds("opencode.session.ensure.duration", "Finding or making a session")
        self.operation_duration = seconds(
            "gen_ai.client.operation.duration", "One answer of a model, its tool calls included", _MODEL
        )
        self.token_usage = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of one answer of a model",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.cost = meter.create_counter(
            "opencode.cost", unit="{USD}", description="As the server reckons it"
        )
        self.active = meter.create_up_down_counter(
            "opencode.runs.active", unit="{run}", description="Runs of turns in this process"
        )
        self.runs = meter.create_counter(
            "opencode.runs", unit="{run}", description="Runs that have ended, by how they did"
        )
        self.asks = meter.create_counter("opencode.asks", unit="{ask}", description="Asks that were seen")
        self.resends = meter.create_counter(
            "opencode.prompt.resends", unit="{prompt}", description="Prompts that had to be sent again"
        )
        self.gaps = meter.create_counter(
            "opencode.stream.gaps",
            unit="{gap}",
            description="Gaps in the server's events, for turns that run",
        )
        self.server_turns = meter.create_gauge(
            "opencode.server.turns", unit="{turn}", description="Turns that run on a server, by the rows"
        )
        self.server_places = meter.create_gauge(
            "opencode.server.places",
            unit="{turn}",
            description="How many more turns may run on a server, if it has a limit",
        )
        self.server_load = meter.create_gauge(
            "opencode.server.load", unit="{turn}", description="Turns that run on a server, for its weight"
        )
        self.server_up = meter.create_gauge(
            "opencode.server.up", unit="1", description="1 if the server says that it is well, else 0"
        )
        self.turns = meter.create_gauge(
            "opencode.turns",
            unit="{turn}",
            description="Turns in the database that have not ended, by their state; the same from every process",
        )
