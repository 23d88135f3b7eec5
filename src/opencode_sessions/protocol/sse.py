"""Server-sent events, decoded from bytes as they come off the wire.

The standard's own rules (https://html.spec.whatwg.org/multipage/server-sent-events.html), and two limits
of ours: an event has a largest size, and its data stays bytes for whoever parses the JSON. Decoding the
text first and splitting it into lines, as HTTP clients offer, cuts JSON apart at U+2028.
"""

from __future__ import annotations

from typing import NamedTuple

from opencode_sessions.errors import EventTooLargeError

__all__ = ["SSEDecoder", "SSEEvent"]

_BOM = b"\xef\xbb\xbf"
_COLON = ord(":")
_RETRY_DIGITS = 9  # eleven days; int() refuses what is longer than some thousand digits


class SSEEvent(NamedTuple):
    """One event of the stream.

    Attributes:
        data: Its `data:` lines, joined by a line feed.
        event: Its `event:` line, or the standard's default.
        id: The last `id:` line so far, of this event or an earlier one.
    """

    data: bytes
    event: str = "message"
    id: str = ""


class SSEDecoder:
    r"""Turns the chunks of one connection into events; a new connection wants a new decoder.

    A line ends with LF, CR or CRLF, wherever the chunks are cut. Work is linear in the bytes fed, however
    small the chunks are, and what is held is bounded by the cap.

    Args:
        max_event_bytes: The most that one event may take on the wire: its lines with their ends, without its
            comments and the empty line that ends it.

    Attributes:
        last_event_id: The id to ask the server to go on from, empty if it gave none.
        retry: The milliseconds that the server wants us to wait before a reconnect, if it said so.
    """

    def __init__(self, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._max = max_event_bytes
        self._head: bytes | None = b""  # what may yet become a BOM; None once that is decided
        self._after_cr = False  # the last chunk ended in CR: an LF that comes first now belongs to it
        self._line = bytearray()  # a line whose end has not come
        self._size = 0  # what the pending event's whole lines took on the wire
        self._data: list[bytes] = []
        self._event = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """Decode the next bytes of the stream.

        Returns:
            The events that these bytes complete.

        Raises:
            EventTooLargeError: The pending event exceeds the cap. The connection is of no more use, and
                neither is this decoder; events that the same chunk completed are lost with it.
        """
        if self._head is not None:
            chunk = self._head + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._head = chunk
                return []
            self._head = None
            chunk = chunk.removeprefix(_BOM)
        if not chunk:
            return []
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self._lines(chunk)

    def close(self) -> int:
        """The stream has ended: drop what is incomplete, as the standard says.

        Returns:
            How many bytes that was; 0 if the stream ended between two events.
        """
        dropped = self._size + len(self._line) + len(self._head or b"")
        self._line.clear()
        self._data.clear()
        self._size = 0
        return dropped

    def _lines(self, chunk: bytes) -> list[SSEEvent]:
        """Take in bytes whose line ends are all LF."""
        *lines, rest = chunk.split(b"\n")
        if lines and self._line:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line.clear()
        events = []
        for line in lines:
            if not line:
                if event := self._dispatch():
                    events.append(event)
                continue
            if self._size + len(line) + 1 > self._max:
                raise self._too_large()
            if line.startswith(b"data: "):  # what a stream consists of; `_field` would do it too
                self._data.append(line[6:])
            elif line[0] == _COLON:
                continue
            else:
                self._field(line)
            self._size += len(line) + 1
        self._line += rest
        if self._size + len(self._line) > self._max:
            raise self._too_large()
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:
            self.retry = int(value)

    def _dispatch(self) -> SSEEvent | None:
        """An empty line: the event is whole. One without data is none."""
        self.last_event_id = self._id
        event = None
        if self._data:
            event = SSEEvent(b"\n".join(self._data), self._event or "message", self._id)
            self._data.clear()
        self._event = ""
        self._size = 0
        return event

    def _too_large(self) -> EventTooLargeError:
        return EventTooLargeError(
            f"an event of the stream takes more than {self._max:,} bytes; read the state again, "
            "or raise max_event_bytes if events of that size are expected"
        )
