"""The queue of events of one subscriber. Its size is limited, however many events come and however slow the reader is.

A subscriber that keeps up gets every event as it came. Once `merge_from` items wait, new events are merged into
items that wait, if the reply is the same in the end:

- More text of a part (`PartDelta`) is added to the text that waits for the same part and field.
- A whole part (`PartChanged`) replaces the waiting event of the same part, if it says at least as much.
- A heartbeat is dropped, since any waiting event shows that the server is alive. A status, or an event about a
  session, is dropped if it only repeats the newest item that waits. So is a second gap right after a first.

**Why the reply is the same.** A new event is merged only with the newest waiting event of its own part, and takes
its place in the queue. So it moves ahead of the events in between. These may be only

- text of other parts, and updates of other tool calls. They change only their own part, and the order of parts is
  the order of their first events, which stays;
- events of other sessions. They change only what is shown about a sub-agent, and the session's own text does not.

No event moves ahead of any other event of its session (a wall):

- a message's envelope, since a part counts only once its message is known;
- a whole text or thought, since a sub-agent's progress shows the last of several;
- any other part, since a new step discards the parts that were begun;
- a removal, an ask or its answer, a status, todos, idle, a failure, the session itself, and an unknown kind.

Nothing at all moves ahead of an event that belongs to no session, such as a `Gap`. The same holds for a tool call that
names the session of a sub-agent: after it, that session's events count.

A `PartChanged` says at least as much as an older one if it has the same type and status, has a value wherever the
older one had one, and its text continues the older text. Then nothing is missing if only the new one is read. A tool
call is replaced only while it runs and names no sub-agent. An event that may not be merged is appended.

(One thing may differ by some words: the progress of a sub-agent, if it and a sub-agent of its own write at once.)

**The limit.** At `most_items` items or `most_text` characters of text, all that waits is replaced by one `Gap`. Then
the subscriber must read the state again, with the asks that are pending.
"""

from __future__ import annotations

import io
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from opencode_sessions.protocol.events import (
    Event,
    Gap,
    Heartbeat,
    MessageChanged,
    PartChanged,
    PartDelta,
    PermissionAsked,
    QuestionAsked,
    SessionChanged,
    SessionFailed,
    SessionIdle,
    SessionStatus,
    TodosChanged,
    Unknown,
)

__all__ = ["Backlog", "Item"]

_log = logging.getLogger("opencode_sessions.stream")

Item = Event | Exception

_REPEATED = (SessionStatus, SessionIdle, SessionChanged)
_REPLACED = ("text", "reasoning", "tool")
_UNDER_WAY = ("pending", "running")


class Backlog:
    """The items of one subscriber, oldest first. It does not wait or lock: `runtime` does.

    `put` and `take` cost the same however many items wait.

    Args:
        merge_from: How many items wait before any are merged.
        most_items: How many may wait.
        most_text: How many characters of text they may hold together; a single event is never too large.
    """

    def __init__(self, *, merge_from: int = 64, most_items: int = 1_000, most_text: int = 1_000_000) -> None:
        self._merge_from = merge_from
        self._most_items = most_items
        self._most_text = most_text
        self._items: deque[_Waiting] = deque()
        self._text = 0
        # The items that others may still be merged into, by session and part.
        self._open: dict[str | None, dict[str, _Waiting]] = {}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def text(self) -> int:
        """How many characters of text wait."""
        return self._text

    def put(self, item: Item) -> None:
        """Add an event, or the exception that ends the stream, which is never dropped."""
        if isinstance(item, Exception):
            self._items.append(_Waiting(item, 0))
            return
        crowded = len(self._items) >= self._merge_from
        if crowded and self._is_pointless(item):
            return
        size = _text_of(item)
        if self._merge(item, size, crowded=crowded):
            too_much = self._text > self._most_text
        else:
            too_much = self._text > self._most_text and len(self._items) > 1
        if too_much or len(self._items) > self._most_items:
            self._fall_behind()

    def take(self) -> Item | None:
        """The oldest item, which is removed; None if nothing waits."""
        if not self._items:
            return None
        waiting = self._items.popleft()
        self._text -= waiting.size
        item = waiting.item
        if isinstance(item, PartDelta | PartChanged) and self._newest(item) is waiting:
            self._forget(item)
        return waiting.whole()

    def _is_pointless(self, event: Event) -> bool:
        if isinstance(event, Heartbeat):
            return True
        last = self._items[-1].item if self._items else None
        if isinstance(event, Gap):
            return isinstance(last, Gap)
        return isinstance(event, _REPEATED) and event == last

    def _merge(self, event: Event, size: int, *, crowded: bool) -> bool:
        """Merge the event into an item that waits, or append it. Returns whether it was merged."""
        if isinstance(event, PartDelta | PartChanged) and (older := self._newest(event)) is not None:
            before = older.size
            if older.takes(event, size):
                self._text += older.size - before
                return True
            self._forget(event)
        if _is_wall_for_all(event):
            self._open.clear()
        elif _is_wall(event):
            self._open.pop(event.session_id, None)
        waiting = _Waiting(event, size)
        if isinstance(event, PartDelta | PartChanged) and crowded:
            self._open.setdefault(event.session_id, {})[event.part_id] = waiting
        self._items.append(waiting)
        self._text += size
        return False

    def _newest(self, event: PartDelta | PartChanged) -> _Waiting | None:
        """The newest item of the same part that the event may be merged into."""
        parts = self._open.get(event.session_id)
        return None if parts is None else parts.get(event.part_id)

    def _forget(self, event: PartDelta | PartChanged) -> None:
        parts = self._open[event.session_id]
        del parts[event.part_id]
        if not parts:
            del self._open[event.session_id]

    def _fall_behind(self) -> None:
        reason = f"the subscriber fell behind: {len(self._items):,} events with {self._text:,} characters waited for it"
        _log.warning("%s, and were dropped; it is to read the state again", reason)
        endings = [waiting for waiting in self._items if isinstance(waiting.item, Exception)]
        self._items = deque([_Waiting(Gap(reason=reason), 0), *endings])
        self._text = 0
        self._open.clear()


class _Waiting:
    """One item, and what was merged into it."""

    __slots__ = ("_more", "item", "size")

    def __init__(self, item: Item, size: int) -> None:
        self.item = item
        self.size = size
        self._more: io.StringIO | None = None

    def takes(self, event: PartDelta | PartChanged, size: int) -> bool:
        """Merge a newer event of the same part, if that is possible. Returns whether it was."""
        mine = self.item
        if isinstance(event, PartDelta):
            if not isinstance(mine, PartDelta) or _place(mine) != _place(event):
                return False
            if self._more is None:
                self._more = io.StringIO()
            self._more.write(event.delta)
            self.size += size
            return True
        if not isinstance(mine, PartChanged) or mine.message_id != event.message_id:
            return False
        if not _tells_as_much(event.part, mine.part):
            return False
        self.item, self.size = event, size
        return True

    def whole(self) -> Item:
        if self._more is None or not isinstance(self.item, PartDelta):
            return self.item
        return replace(self.item, delta=self.item.delta + self._more.getvalue())


def _place(event: PartDelta) -> tuple[str, str]:
    return event.message_id, event.field


def _is_wall(event: Event) -> bool:
    """Whether nothing of its session may move ahead of it."""
    if isinstance(event, PartChanged):
        return event.part.get("type") != "tool"
    return not isinstance(event, PartDelta)


def _is_wall_for_all(event: Event) -> bool:
    if isinstance(event, PartChanged):
        return _names_a_sub_agent(event.part)
    return event.session_id is None


def _names_a_sub_agent(part: Mapping[str, Any]) -> bool:
    metadata = _state(part).get("metadata")
    return isinstance(metadata, Mapping) and "sessionId" in metadata


def _state(part: Mapping[str, Any]) -> Mapping[str, Any]:
    state = part.get("state")
    return state if isinstance(state, Mapping) else {}


def _tells_as_much(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether it may replace the old one; see the module's text."""
    kind = new.get("type")
    if kind != old.get("type") or kind not in _REPLACED or _names_a_sub_agent(new):
        return False
    status = _state(new).get("status")
    if status != _state(old).get("status") or (kind == "tool" and status not in _UNDER_WAY):
        return False
    text = old.get("text")
    if isinstance(text, str) and not str(new.get("text") or "").startswith(text):
        return False
    for key, value in old.items():
        other = new.get(key)
        if value and not other:
            return False
        if isinstance(value, Mapping) and not (isinstance(other, Mapping) and _has_all(other, value)):
            return False
    return True


def _has_all(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    return all(new.get(key) for key, value in old.items() if value)


_TEXT: dict[type[Event], Callable[[Any], Any]] = {
    PartDelta: attrgetter("delta"),
    PartChanged: attrgetter("part"),
    Unknown: attrgetter("properties"),
    PermissionAsked: attrgetter("metadata"),
    QuestionAsked: attrgetter("questions"),
    TodosChanged: attrgetter("todos"),
    SessionFailed: attrgetter("error"),
    MessageChanged: attrgetter("message.error"),
}
"""The field with an event's text. Other events are small, so `most_items` limits them."""


def _text_of(event: Event) -> int:
    where = _TEXT.get(type(event))
    return _characters(where(event)) if where is not None else 0


def _characters(value: Any) -> int:
    """How many characters all strings in a piece of JSON have, however deep it is."""
    found, left = 0, [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            found += len(item)
        elif isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list | tuple):
            left.extend(item)
    return found
