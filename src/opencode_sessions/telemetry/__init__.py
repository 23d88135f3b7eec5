"""OpenTelemetry: what happens in turns, as spans and metrics. It needs ``pip install 'opencode-sessions[otel]'``.

    opencode = AsyncHost(HostSettings(telemetry=True), tables=[…])     # OPENCODE = {"TELEMETRY": True} with Django

The application sets up the SDK: what is exported, and where to. Without an SDK nothing is recorded.
"""

from __future__ import annotations

from opencode_sessions.telemetry.telemetry import Telemetry

__all__ = ["Telemetry"]
