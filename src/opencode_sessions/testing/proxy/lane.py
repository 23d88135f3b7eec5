"""One direction of one connection: bytes that were read here and wait to be sent there."""

from __future__ import annotations

import socket
from collections import deque

from opencode_sessions.testing.proxy.faults import Direction, Orders

__all__ = ["Lane"]

_MOST_HELD = 256 * 1024
_CHUNK = 64 * 1024
_SLICES = 20  # a slowed lane sends so many times a second


class Lane:
    """Carries bytes from `source` to `sink`, with a delay, a speed limit, or up to a number of bytes.

    Attributes:
        carried: How many bytes the sink has accepted.
        heard: How many bytes came from the source.
        ended: Whether the source has ended.
        shut: Whether the end was passed on to the sink.
        blocked: Whether the sink accepts no bytes at the moment.
    """

    def __init__(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        self.direction = direction
        self.source = source
        self.sink = sink
        self.carried = 0
        self.heard = 0
        self.ended = False
        self.shut = False
        self.blocked = False
        self._held: deque[tuple[float, memoryview]] = deque()  # with the moment from which it may go on
        self._size = 0
        self._next = 0.0  # a slowed lane sends nothing before

    @property
    def over(self) -> bool:
        """Whether no more bytes will come or go."""
        return self.ended and self.shut

    def wants_to_read(self, orders: Orders) -> bool:
        """Whether to read from the source. A lane that is stalled or full does not, so the kernel slows the source."""
        return not self.ended and self._size < _MOST_HELD and self.direction not in orders.stalled

    def read(self) -> bytes:
        """Read the bytes that have come; empty at the end.

        Raises:
            OSError: The connection broke.
        """
        data = self.source.recv(_CHUNK)
        self.heard += len(data)
        self.ended = not data
        return data

    def hold(self, data: bytes, now: float, orders: Orders) -> None:
        """Keep these bytes until they are due. Those of a lane that was shut are lost."""
        if self.shut:
            return
        last = self._held[-1][0] if self._held else 0.0
        self._held.append((max(last, now + orders.delay(self.direction)), memoryview(data)))
        self._size += len(data)

    def due(self, orders: Orders) -> float | None:
        """When the next bytes may be sent; None if there are none, or if that depends on an order or the sink."""
        if not self._held or self.blocked or self.direction in orders.stalled:
            return None
        return max(self._held[0][0], self._next)

    def send(self, now: float, orders: Orders, limit: int | None) -> None:
        """Send the due bytes, at most `limit` of them.

        Raises:
            OSError: The connection broke.
        """
        while (due := self.due(orders)) is not None and due <= now and limit != 0:
            head = self._held[0][1]
            rate = orders.rates.get(self.direction)
            most = len(head) if rate is None else max(1, int(rate / _SLICES))
            try:
                sent = self.sink.send(head[: most if limit is None else min(most, limit)])
            except BlockingIOError:
                self.blocked = True
                return
            self._took(sent)
            limit = None if limit is None else limit - sent
            self._next = now + sent / rate if rate is not None else 0.0

    def _took(self, sent: int) -> None:
        due, head = self._held.popleft()
        if sent < len(head):
            self._held.appendleft((due, head[sent:]))
        self._size -= sent
        self.carried += sent

    def finish(self, orders: Orders) -> None:
        """Pass the source's end on, once all bytes before it were sent."""
        if self.ended and not self._held and not self.shut and self.direction not in orders.stalled:
            self.shut_down()

    def shut_down(self) -> None:
        """End the sink; bytes that wait or come later are lost."""
        self._held.clear()
        self._size = 0
        self.shut = True
        self.sink.shutdown(socket.SHUT_WR)
