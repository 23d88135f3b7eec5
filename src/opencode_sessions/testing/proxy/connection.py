"""One connection through the proxy: a client, a target, two lanes, and the orders that affect it."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable

from opencode_sessions.testing.proxy.faults import CutAfter, Direction, DropAnswer, Fault, Kind, Orders
from opencode_sessions.testing.proxy.lane import Lane

__all__ = ["Connection"]

_GRACE = 0.05
"""Seconds for the target to send the rest of an answer that is lost."""

_RESET = struct.pack("ii", 1, 0)
_CHUNK = 64 * 1024


class Connection:
    """Everything that can happen to one connection. The proxy's thread drives it, and alone touches it."""

    def __init__(
        self,
        number: int,
        client: socket.socket,
        target: socket.socket,
        orders: Orders,
        report: Callable[[Fault], None],
    ) -> None:
        self.number = number
        self.closed = False
        self.connecting = True
        self._reset = False
        self.up = Lane("up", client, target)
        self.down = Lane("down", target, client)
        self._orders = orders
        self._report = report
        self._tail = b""  # the end of what the client sent, in which a match may have begun
        self._lost_from: int | None = None  # answers are lost once this many bytes were carried up
        self._cut_at: float | None = None
        for cut in orders.cuts:
            if cut.matching is None:
                cut.since[self.lane(cut.direction)] = 0

    def lane(self, direction: Direction) -> Lane:
        """The lane of a direction."""
        return self.up if direction == "up" else self.down

    @property
    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """The sockets of the client and the target."""
        return self.up.source, self.up.sink

    def wants(self, side: socket.socket) -> tuple[bool, bool]:
        """Whether to wait for data from this socket, and whether to wait until it accepts data."""
        incoming, outgoing = (self.up, self.down) if side is self.up.source else (self.down, self.up)
        if self.connecting:
            return False, side is self.up.sink
        return incoming.wants_to_read(self._orders), outgoing.blocked

    def read(self, side: socket.socket, now: float) -> None:
        """Read from a socket."""
        lane = self.up if side is self.up.source else self.down
        data = lane.read()
        if lane is self.up:
            self._watch(data)
        elif self._lost_from is not None and self.up.carried >= self._lost_from:
            # The answer to what was matched, or the end that came in its place.
            self._cut_at = self._cut_at or now + _GRACE
            return
        if data:
            lane.hold(data, now, self._orders)

    def writable(self, side: socket.socket) -> None:
        """Note that a socket accepts bytes again, or is connected.

        Raises:
            OSError: The target refused the connection.
        """
        if self.connecting:
            failure = side.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                raise OSError(failure, "the target did not take the connection")
            self.connecting = False
        (self.up if side is self.up.sink else self.down).blocked = False

    def step(self, now: float) -> None:
        """Do what is due."""
        if self.connecting or self.closed:
            return
        if self._cut_at is not None and now >= self._cut_at:
            self._strike("drop_answer", "down")
            return
        for lane in (self.up, self.down):
            if self._carry(lane, now):
                return
        if self.up.over and self.down.over:
            self.close()

    def due(self) -> float | None:
        """The time of the next `step`, unless a socket or an order comes first."""
        if self.connecting:
            return None
        moments = (self.up.due(self._orders), self.down.due(self._orders), self._cut_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def _carry(self, lane: Lane, now: float) -> bool:
        """Send the due bytes of a lane. True if an order then cut the connection."""
        cut, left = self._nearest_cut(lane)
        due = lane.due(self._orders)
        if due is not None and due <= now:
            lane.send(now, self._orders, left)
            if cut is not None and cut.count <= self._counted(lane, cut):
                self._orders.cuts.remove(cut)
                self._strike("cut_after", lane.direction)
                return True
        lane.finish(self._orders)
        return False

    def _nearest_cut(self, lane: Lane) -> tuple[CutAfter | None, int | None]:
        """The first order to take effect on this lane, and the number of bytes before that."""
        cuts = [cut for cut in self._orders.cuts if lane in cut.since]
        nearest = min(cuts, key=lambda cut: cut.count - self._counted(lane, cut), default=None)
        return nearest, None if nearest is None else nearest.count - self._counted(lane, nearest)

    def _counted(self, lane: Lane, cut: CutAfter) -> int:
        return lane.carried - cut.since[lane]

    def _watch(self, data: bytes) -> None:
        """Search the client's bytes for the pattern of an order."""
        patterns = self._orders.patterns()
        seen = self._tail + data
        for order in patterns:
            pattern = order.matching or b""
            at = seen.find(pattern, max(len(self._tail) - len(pattern) + 1, 0))  # it ends in what is new
            if at < 0:
                continue
            end = self.up.heard - len(seen) + at + len(pattern)
            if isinstance(order, DropAnswer):
                self._lost_from = end
                self._orders.drops.remove(order)
            elif order.direction == "up":
                order.since.setdefault(self.up, end)
            else:
                order.since.setdefault(self.down, self.down.carried)
        longest = max((len(order.matching or b"") for order in patterns), default=1)
        self._tail = seen[-(longest - 1) :] if longest > 1 else b""

    def _strike(self, kind: Kind, direction: Direction) -> None:
        self._report(Fault(kind, self.number, direction))
        self.close()

    def half_close(self, direction: Direction) -> None:
        """End one direction; the other goes on."""
        lane = self.lane(direction)
        if not lane.shut and not self.connecting:
            lane.shut_down()
            self._report(Fault("half_close", self.number, direction))

    def close(self, *, reset: bool = False) -> None:
        """End the connection: in order, after the sent bytes, or by a reset, which may lose them."""
        self._reset = self._reset or (reset and not self.closed)
        self.closed = True

    def release(self) -> None:
        """Close the sockets."""
        for side in self.sockets:
            with contextlib.suppress(OSError):
                if self._reset:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                else:
                    side.shutdown(socket.SHUT_WR)
                    _drain(side)
            side.close()


def _drain(side: socket.socket) -> None:
    """Read the remaining bytes: closing a socket with unread bytes resets it, and its peer loses sent bytes."""
    for _ in range(16):
        if not side.recv(_CHUNK):
            return
