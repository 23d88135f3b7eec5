"""`FaultProxy`: a network that fails when a test says so."""

from __future__ import annotations

import socket
import threading
from random import Random
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.proxy.checks import check_bytes, check_direction, check_number
from opencode_sessions.testing.proxy.faults import (
    CutAfter,
    Direction,
    DropAnswer,
    Fault,
    Kind,
    Orders,
    chosen,
)
from opencode_sessions.testing.proxy.loop import Loop

__all__ = ["FaultProxy"]

_LOOPBACK = "127.0.0.1"


class FaultProxy:
    """Stands between a client and a TCP server (OpenCode, PostgreSQL, anything), and breaks what it carries.

    Without an order it passes all bytes on. Orders can come from any thread. They hold for present and future
    connections, and are in force when the method returns::

        with FaultProxy(server.url) as proxy, Client(proxy.url, password=server.password) as client:
            proxy.drop_answer(b"/prompt_async")     # the request arrives; its answer is lost
            ...
            proxy.cut()                             # every connection, now

    The direction `"up"` is from the client to the target, and `"down"` is back; None means both. Orders that match
    bytes search the client's bytes, so they find nothing within TLS. An order that could never take effect is refused
    with a `ConfigurationError`.

    Args:
        target: A URL, or `host:port`.
        seed: The seed of random values.

    Attributes:
        random: A seeded generator, for jitter and for your own choices.
    """

    def __init__(self, target: str, *, seed: int = 0) -> None:
        self._target = target
        self._address = _resolved(target)
        self.random = Random(seed)  # noqa: S311 - it is to be repeatable
        self._orders = Orders(self.random)
        self._faults: list[Fault] = []
        self._struck = threading.Condition()
        self._running: Loop | None = None

    def start(self) -> Self:
        """Start to listen on a free port of the loopback. Does nothing if it listens already."""
        if self._running is None:
            self._running = Loop(self._address, self._orders, self._report)
        return self

    def stop(self) -> None:
        """End all connections and the thread. Does nothing if it is stopped."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _loop(self) -> Loop:
        if self._running is None:
            raise ConfigurationError("the fault proxy is not running: use it in a `with`, or start() it")
        return self._running

    # Address and traffic.

    @property
    def port(self) -> int:
        """The port on 127.0.0.1.

        Raises:
            ConfigurationError: The proxy is not running.
        """
        return self._loop.port

    @property
    def url(self) -> str:
        """The target as it was given, but with the proxy's address."""
        if "://" not in self._target:
            return f"{_LOOPBACK}:{self.port}"
        parts = urlsplit(self._target)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}{_LOOPBACK}:{self.port}").geturl()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self._loop.do(lambda: len(self._loop.connections))

    def carried(self, direction: Direction) -> int:
        """How many bytes were carried in a direction since the start."""
        check_direction(direction)

        def order() -> int:
            standing = self._loop.connections
            return self._loop.carried[direction] + sum(each.lane(direction).carried for each in standing)

        return self._loop.do(order)

    @property
    def faults(self) -> list[Fault]:
        """The faults so far, in order. A general fault has one entry; a fault of connections has one for each."""
        with self._struck:
            return list(self._faults)

    def await_fault(self, kind: Kind, *, times: int = 1, timeout: float = 10.0) -> None:
        """Wait until a kind of fault happened so many times since the start.

        Raises:
            TimeoutError: It did not within `timeout` seconds.
        """
        with self._struck:
            if not self._struck.wait_for(
                lambda: sum(fault.kind == kind for fault in self._faults) >= times, timeout
            ):
                raise TimeoutError(f"no {kind} happened within {timeout:g} s, only: {self._faults}")

    # Faults.

    def cut(self, *, reset: bool = False) -> int:
        """End all connections now, in order, or with a TCP reset. Returns how many there were."""

        def order() -> int:
            struck = self._loop.cut(reset=reset)
            for connection in struck:
                self._report(Fault("cut", connection.number))
            return len(struck)

        return self._loop.do(order)

    def cut_after(self, count: int, direction: Direction, *, matching: bytes | None = None) -> None:
        """Cut one connection once: the first that carries exactly `count` more bytes in a direction.

        Each connection counts its own bytes, from now on; with `matching`, from the point where its client has sent
        these bytes. With 0 it is cut when it is about to carry the first byte.
        """
        check_number("count", count, whole=True)
        check_direction(direction)
        if matching is not None:
            check_bytes(matching)

        def order() -> None:
            cut = CutAfter(count, direction, matching)
            if matching is None:
                lanes = [each.lane(direction) for each in self._loop.connections]
                cut.since.update((lane, lane.carried) for lane in lanes)
            self._orders.cuts.append(cut)

        self._loop.do(order)

    def half_close(self, direction: Direction) -> None:
        """End one direction of all open connections. Its bytes on the way are lost; the other direction goes on."""
        check_direction(direction)

        def order() -> None:
            for connection in self._loop.connections:
                with self._loop.losing(connection):
                    connection.half_close(direction)

        self._loop.do(order)

    def delay(self, seconds: float, direction: Direction | None = None, *, jitter: float = 0.0) -> None:
        """Delay all bytes by `seconds`, and by up to `jitter` seconds more; their order stays. 0 ends the delay."""
        check_number("seconds", seconds)
        check_number("jitter", jitter)
        check_direction(direction, both=True)

        def order() -> None:
            for each in chosen(direction):
                self._orders.delays[each] = (seconds, jitter)
            if seconds or jitter:
                self._switched_on("delay", direction)

        self._loop.do(order)

    def slow(self, bytes_per_second: float | None, direction: Direction | None = None) -> None:
        """Limit the speed of each connection; None ends the limit."""
        if bytes_per_second is not None:
            check_number("bytes_per_second", bytes_per_second, above_zero=True)
        check_direction(direction, both=True)

        def order() -> None:
            for each in chosen(direction):
                if bytes_per_second is None:
                    self._orders.rates.pop(each, None)
                else:
                    self._orders.rates[each] = bytes_per_second
            if bytes_per_second is not None:
                self._switched_on("slow", direction)

        self._loop.do(order)

    def stall(self, direction: Direction | None = None) -> None:
        """Accept connections, but pass no bytes on until `resume`."""
        check_direction(direction, both=True)

        def order() -> None:
            self._orders.stalled.update(chosen(direction))
            self._switched_on("stall", direction)

        self._loop.do(order)

    def resume(self) -> None:
        """End a stall, and pass the waiting bytes on."""
        self._loop.do(self._orders.stalled.clear)

    def refuse(self) -> None:
        """Refuse new connections until `admit`, as if no program listened there. Open connections go on."""

        def order() -> None:
            if self._loop.refuse():
                self._switched_on("refuse")

        self._loop.do(order)

    def admit(self) -> None:
        """Accept new connections again."""
        self._loop.do(self._loop.listen)

    def drop_answer(self, matching: bytes) -> None:
        """Lose the answer to the next request that contains these bytes. The request has its effect.

        The connection is cut when the target begins to answer (or hangs up), before a byte of the answer is passed on.
        """
        check_bytes(matching)
        self._loop.do(lambda: self._orders.drops.append(DropAnswer(matching)))

    def calm(self) -> None:
        """End all active and waiting orders."""

        def order() -> None:
            self._orders.clear()
            self._loop.listen()

        self._loop.do(order)

    def _switched_on(self, kind: Kind, direction: Direction | None = None) -> None:
        self._report(Fault(kind, direction=direction))

    def _report(self, fault: Fault) -> None:
        with self._struck:
            self._faults.append(fault)
            self._struck.notify_all()


def _resolved(target: str) -> tuple[socket.AddressFamily, Any]:
    try:
        parts = urlsplit(target if "://" in target else f"//{target}")
        if parts.hostname is None or parts.port is None:
            raise ValueError("it names no host and port")  # noqa: TRY301 - said below, with what the parser says
        family, _, _, _, address = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)[0]
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"{target!r} is nothing to stand before ({error}): give a URL or host:port, with the port"
        ) from error
    return family, address
