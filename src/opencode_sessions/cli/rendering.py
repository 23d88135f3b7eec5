"""A turn as plain text for the command line: pure functions, without a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.plain import clean, cut_line, one_line
from opencode_sessions.protocol.reply import Part
from opencode_sessions.protocol.visible import visible_line
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.results import TurnResult

__all__ = [
    "PROMPT",
    "caption",
    "clean",
    "money",
    "one_line",
    "retry_line",
    "seconds",
    "summary",
    "tool_facts",
    "why",
]

PROMPT = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "

_TELLING = ("path", "pattern", "command", "url", "query", "description", "prompt")
_TOOL_FACTS = ("tool", "status", "title", "input", "output", "error")
_MINUTE = 60
_CENT = 0.01


def caption(tool: Part) -> str:
    """The subject of a tool call: its file, else its command, its title, or the most useful part of its input."""
    given = tool.input or {}
    # A title names a file from the root of the server's project, which may be the root of the disk.
    told = given.get("filePath") or given.get("command") or tool.title
    told = told or next((given[name] for name in _TELLING if given.get(name)), "")
    return cut_line(visible_line(f"{tool.tool or 'tool'} {told}" if told else tool.tool or "tool"))


def money(dollars: float) -> str:
    """Dollars and cents, or the first two digits of a smaller sum."""
    if 0 < dollars < _CENT:
        return f"${dollars:.{1 - floor(log10(dollars))}f}"
    return f"${dollars:,.2f}"


def seconds(duration: float) -> str:
    """A duration in a short readable form."""
    if duration < _MINUTE:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), _MINUTE)
    return f"{minutes} min {rest} s"


def summary(result: TurnResult) -> str:
    """The line below an answer: the turn's status, duration and cost."""
    whole = result.finish in (None, "stop")
    facts = [
        result.status.value if whole else f"{result.status.value}, but not to its end ({result.finish})",
        f"{result.input_tokens:,} tokens in, {result.output_tokens:,} out",
        money(result.cost),
    ]
    if result.duration is not None:
        facts.append(seconds(result.duration))
    return " · ".join(facts)


def why(result: TurnResult) -> str | None:
    """The reason why a turn failed, on one line; None if it did not."""
    if result.status is not TurnStatus.FAILED:
        return None
    error = result.error or {}
    name, message = str(error.get("name") or "failed"), str(error.get("message") or "")
    return one_line(f"{name}: {message}" if message else name, limit=500)


def retry_line(status: SessionStatus, now: float) -> str:
    """A line that says when a failed provider is retried; `now` is in seconds since 1970."""
    message = one_line(status.message or "the provider failed")
    attempt = f"attempt {status.attempt + 1}" if status.attempt is not None else "another attempt"
    wait = (status.next or 0) / 1000 - now
    return f"{message}: {attempt} " + (f"in {seconds(wait)}" if wait > 0 else "now")


def tool_facts(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tool calls among a reply's parts, each as a flat object for the JSON line."""
    return [
        {name: part[name] for name in _TOOL_FACTS if name in part}
        for part in parts
        if part.get("type") == "tool"
    ]
