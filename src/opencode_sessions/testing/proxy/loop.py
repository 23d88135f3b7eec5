"""The thread that carries the bytes: one selector, all connections, and the orders that come from other threads."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.proxy.connection import Connection
from opencode_sessions.testing.proxy.faults import Direction, Fault, Orders

__all__ = ["Loop"]

T = TypeVar("T")

Address = tuple[socket.AddressFamily, Any]


class Loop:
    """Listens, connects and carries until it is stopped.

    Attributes without a lock belong to the thread; other threads use `do`.

    Attributes:
        port: The port on 127.0.0.1.
        connections: The open connections.
        carried: The bytes that ended connections carried.
    """

    def __init__(self, target: Address, orders: Orders, report: Callable[[Fault], None]) -> None:
        self._target = target
        self._orders = orders
        self._report = report
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[Connection] = []
        self.carried: Counter[Direction] = Counter()
        self._count = 0
        self._selector = selectors.DefaultSelector()
        self._waking, self._woken = socket.socketpair()
        self._lock = threading.Lock()  # of the two below: nothing comes in once the thread has ended
        self._inbox: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._stopping = False
        self._selector.register(self._woken, selectors.EVENT_READ)
        self.listen()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()

    def do(self, order: Callable[[], T]) -> T:
        """Make the thread call a function, and wait for the result.

        Raises:
            ConfigurationError: The proxy was stopped.
        """
        done: Future[T] = Future()
        with self._lock:
            if self._stopping:
                raise _stopped()
            self._inbox.append((order, done))
            self._waking.send(b"!")
        return done.result()

    def stop(self) -> None:
        """End all connections and the thread, and wait for it."""
        with contextlib.suppress(ConfigurationError):
            self.do(self._end)
        self._thread.join()

    # Orders: called by the thread, through `do`.

    def listen(self) -> None:
        """Accept new connections."""
        if not self._is_watched(self._listener):
            self._listener.listen()
            self._selector.register(self._listener, selectors.EVENT_READ)

    def refuse(self) -> bool:
        """Refuse new connections, but keep the port. True if it accepted them before."""
        if not self._is_watched(self._listener):
            return False
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = _bound(self.port)
        return True

    def cut(self, *, reset: bool) -> list[Connection]:
        """End all connections, and return them."""
        connections = list(self.connections)
        for connection in connections:
            connection.close(reset=reset)
            self._look_after(connection)
        return connections

    @contextlib.contextmanager
    def losing(self, connection: Connection) -> Iterator[None]:
        """Handle the sockets of a connection. If one end is broken, the other is reset."""
        try:
            yield
        except BlockingIOError:
            pass  # it was not ready after all
        except OSError:
            connection.close(reset=True)

    # The thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        finally:
            with self._lock:
                self._stopping = True
            for _, done in self._inbox:
                done.set_exception(_stopped())
            self.cut(reset=True)
            self._selector.close()
            for each in (self._listener, self._waking, self._woken):
                each.close()

    def _end(self) -> None:
        self._stopping = True

    def _turn(self) -> None:
        ready = self._selector.select(self._patience())
        now = time.monotonic()
        for key, events in ready:
            if key.fileobj is self._woken:
                self._woken.recv(4096)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                self._exchange(key, events, now)
        while self._inbox:
            order, done = self._inbox.popleft()
            try:
                done.set_result(order())
            except Exception as error:  # noqa: BLE001 - raised in the thread that gave the order
                done.set_exception(error)
        for connection in list(self.connections):
            with self.losing(connection):
                connection.step(now)
            self._look_after(connection)

    def _patience(self) -> float | None:
        """Seconds until something is due."""
        moments = [due for connection in self.connections if (due := connection.due()) is not None]
        return max(min(moments) - time.monotonic(), 0.0) if moments else None

    def _exchange(self, key: selectors.SelectorKey, events: int, now: float) -> None:
        connection: Connection = key.data
        side: Any = key.fileobj
        with self.losing(connection):
            if events & selectors.EVENT_WRITE and not connection.closed:
                connection.writable(side)
            if events & selectors.EVENT_READ and not connection.closed:
                connection.read(side, now)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # who knocked is gone again
            client, _ = self._listener.accept()
            family, address = self._target
            target = socket.socket(family)
            for side in (client, target):
                side.setblocking(False)
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            target.connect_ex(address)
            self._count += 1
            self.connections.append(Connection(self._count, client, target, self._orders, self._report))

    def _look_after(self, connection: Connection) -> None:
        """Update which sockets of a connection are watched; a closed one is no longer watched."""
        for side in connection.sockets:
            read, write = (False, False) if connection.closed else connection.wants(side)
            self._watch(side, read * selectors.EVENT_READ | write * selectors.EVENT_WRITE, connection)
        if connection.closed:
            connection.release()
            self.connections.remove(connection)
            self.carried.update({lane.direction: lane.carried for lane in (connection.up, connection.down)})

    def _watch(self, side: socket.socket, events: int, connection: Connection) -> None:
        if not self._is_watched(side):
            if events:
                self._selector.register(side, events, connection)
        elif not events:
            self._selector.unregister(side)
        elif self._selector.get_key(side).events != events:
            self._selector.modify(side, events, connection)

    def _is_watched(self, side: socket.socket) -> bool:
        return side in self._selector.get_map()


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections to the port may stand
    listener.bind(("127.0.0.1", port))
    listener.setblocking(False)
    return listener


def _stopped() -> ConfigurationError:
    return ConfigurationError("the fault proxy was stopped: its faults are ordered within its `with`")
