"""What it buys to merge the events that wait for a subscriber: beside a backlog that only drops what is too much."""

from __future__ import annotations

import time
from collections.abc import Iterator

from opencode_sessions.protocol.events import (
    Event,
    Gap,
    MessageChanged,
    PartChanged,
    PartDelta,
    StoredMessage,
)
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.wire.backlog import Backlog

_SESSION, _PROMPT, _ANSWER = "ses_bench", "msg_prompt", "msg_answer"
_NEVER = 1_000_000_000


def measure() -> list[tuple[str, ...]]:
    """A turn that takes nothing for a while, and then all that waits."""
    return [
        ("waiting", "backlog", "items", "gaps", "changes", "shown", "caught up, ms"),
        *(
            _row(f"{count:,} {kind}", name, list(events), merge_from)
            for kind, count, events in _streams()
            for name, merge_from in (("merges", 64), ("drops only", _NEVER))
        ),
    ]


def _streams() -> Iterator[tuple[str, int, list[Event]]]:
    for count in (900, 5_000):
        yield "words of a text", count, [*_begun({"type": "text", "text": ""}), *map(_word, range(count))]
    for count in (200,):
        yield "lines of a tool's output", count, [*_begun({}), *map(_output, range(count))]


def _begun(content: dict[str, object]) -> list[Event]:
    message = StoredMessage(_ANSWER, _SESSION, "assistant", parent_id=_PROMPT)
    return [MessageChanged(session_id=_SESSION, message=message), *([_told(content)] if content else [])]


def _told(content: dict[str, object]) -> PartChanged:
    part = {"id": "prt_bench", "messageID": _ANSWER, **content}
    return PartChanged(session_id=_SESSION, part_id="prt_bench", message_id=_ANSWER, part=part)


def _word(number: int) -> PartDelta:
    return PartDelta(
        session_id=_SESSION, part_id="prt_bench", message_id=_ANSWER, field="text", delta=f"word{number} "
    )


def _output(number: int) -> PartChanged:
    """Of a tool, the server tells all of the output each time (1.18.33)."""
    state = {
        "status": "running",
        "input": {},
        "metadata": {"output": "a line of its output, as long as many\n" * number},
    }
    return _told({"type": "tool", "tool": "bash", "callID": "call_bench", "state": state})


def _row(waiting: str, name: str, events: list[Event], merge_from: int) -> tuple[str, ...]:
    backlog, reply = Backlog(merge_from=merge_from), Reply(_SESSION, _PROMPT)
    for event in events:
        backlog.put(event)
    items, gaps, changes = len(backlog), 0, 0
    began = time.perf_counter()
    while (item := backlog.take()) is not None:
        if isinstance(item, Gap):
            gaps += 1
        elif not isinstance(item, Exception):
            changes += len(reply.apply(item))
    took = time.perf_counter() - began
    told = sum(len(str(part)) for part in reply.to_json())
    return (waiting, name, f"{items:,}", f"{gaps}", f"{changes:,}", f"{told:,}", f"{took * 1e3:.1f}")
