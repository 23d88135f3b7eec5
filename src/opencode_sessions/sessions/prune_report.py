"""The output of the prune commands, as plain text and as JSON, and the durations and sizes that commands accept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.plain import one_line
from opencode_sessions.sessions.pruning import Leftover

__all__ = [
    "age_of",
    "leftover_facts",
    "leftover_lines",
    "parse_duration",
    "parse_size",
    "progress_of",
    "sessions",
    "summary_of",
]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """The duration in a text such as `90s`, `30m`, `24h` or `7d`.

    Raises:
        ConfigurationError: The text has another form.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise ConfigurationError(f"write it like 90s, 30m, 24h or 7d, not {text}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def parse_size(text: str) -> int:
    """The number of bytes in a text such as `500M` or `2G`, in units of 1024.

    Raises:
        ConfigurationError: The text has another form.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,5})([MG])", text)
    if found is None:
        raise ConfigurationError(f"write it like 500M or 2G, not {text}")
    return int(found[1]) * 1024 ** (2 if found[2] == "M" else 3)


def leftover_lines(found: Sequence[Leftover]) -> Iterator[str]:
    """A table: its header, and a line for each session."""
    now = datetime.now(UTC)
    rows = [("SESSION", "UNUSED", "MADE FOR", "TITLE")] + [
        (each.session_id, age_of(now - each.updated), one_line(each.record or "?"), one_line(each.title))
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for session_id, age, record, title in rows:
        yield f"{session_id:<{widths[0]}}  {age:>{widths[1]}}  {record:<{widths[2]}}  {title}".rstrip()


def progress_of(found: Sequence[Leftover], *, scanned: int) -> str:
    """The progress of a walk, in one line."""
    return f"{sessions(scanned)} looked at, {len(found):,} without a row …"


def summary_of(
    found: Sequence[Leftover], *, scanned: int, of_other_tables: int, deleting: bool, named: bool
) -> str:
    """The line below the table.

    Args:
        found: The leftovers.
        scanned: How many sessions were looked at.
        of_other_tables: How many of those belong to tables that were not given.
        deleting: Whether the leftovers were to be deleted.
        named: Whether a namespace was given; without one, `--delete` would be refused.
    """
    said = f"{sessions(scanned)} looked at, {len(found):,} of them without a row"
    if deleting:
        said += f", {sum(leftover.deleted for leftover in found):,} deleted"
    elif found and named:
        said += "; --delete deletes what is listed here"
    elif found:
        said += "; some may be another project's, so --delete wants a namespace"
    if of_other_tables:
        said += f". {of_other_tables:,} belong to other tables of this namespace"
    return said


def leftover_facts(each: Leftover) -> dict[str, Any]:
    """The leftover as JSON."""
    return {
        "session_id": each.session_id,
        "title": each.title,
        "record": each.record,
        "created": each.created.isoformat(),
        "updated": each.updated.isoformat(),
        "deleted": each.deleted,
        **({} if each.server is None else {"server": each.server}),
    }


def sessions(number: int) -> str:
    """The number, with `session` or `sessions`."""
    return f"{number:,} session{'' if number == 1 else 's'}"


def age_of(age: timedelta) -> str:
    """The age in its largest unit, as in `3 d`."""
    seconds = max(int(age.total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
