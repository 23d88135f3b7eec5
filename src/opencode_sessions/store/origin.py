"""Where the trace of a turn begins: the span in which its message is made, as the row keeps it.

The row is what every process has that runs the turn, also one that takes it up after a crash. So the context stands
there, and not in a queue's job.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["begin_traces_with", "new_trace"]


def new_trace() -> str | None:
    """The W3C `traceparent` of the span that is current here; None if there is none, or no OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # nothing here has a span
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return _begin()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def begin_traces_with(begin: Callable[[], str | None]) -> None:
    """Let the messages that this process makes outside of any span begin a trace of their own, from now on."""
    global _begin  # noqa: PLW0603 - the default of a column takes no argument
    _begin = begin


def _nothing() -> str | None:
    return None


_begin: Callable[[], str | None] = _nothing
