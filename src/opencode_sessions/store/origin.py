"""The start of a turn's trace: the span in which its message is made, stored in the row.

Every process that runs the turn reads the row, also one that recovers it after a crash. So the context is stored in the
row, and not in a queue's job.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["begin_traces_with", "new_trace"]


def new_trace() -> str | None:
    """The W3C `traceparent` of the current span; None without a span or without OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # OpenTelemetry is not installed
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return _begin()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def begin_traces_with(begin: Callable[[], str | None]) -> None:
    """From now on, begin a new trace for each message that this process makes outside of a span."""
    global _begin  # noqa: PLW0603 - the default of a column takes no argument
    _begin = begin


def _nothing() -> str | None:
    return None


_begin: Callable[[], str | None] = _nothing
