"""Every fault of the proxy, on real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from opencode_sessions import errors
from opencode_sessions.testing import Fault, FaultProxy


class Echo:
    """Sends back what it gets, and remembers it."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = []
        self.ended = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            heard = bytearray()
            self.heard.append(heard)
            self._threads.append(threading.Thread(target=self._echo, args=[connection, heard], daemon=True))
            self._threads[-1].start()

    def _echo(self, connection, heard):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                heard += data
                connection.sendall(data)
        self.ended.release()

    def wait_for_ends(self, count):
        for _ in range(count):
            assert self.ended.acquire(timeout=30), "a connection to the target stays open"

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def echo():
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo):
    with FaultProxy(echo.address) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    with contextlib.ExitStack() as stack:

        def connect():
            return stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=30))

        yield connect


def said(connection, data):
    """What comes back."""
    connection.sendall(data)
    return exactly(connection, len(data))


def exactly(connection, count):
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def rest(connection):
    data = b""
    while more := connection.recv(65536):
        data += more
    return data


def test_without_an_order_everything_passes(proxy, connect, echo):
    big = os.urandom(3_000_000)
    connection = connect()
    sending = threading.Thread(target=connection.sendall, args=[big])
    sending.start()
    assert exactly(connection, len(big)) == big
    sending.join(30)
    connection.shutdown(socket.SHUT_WR)
    assert rest(connection) == b""
    echo.wait_for_ends(1)
    assert proxy.carried("up") == proxy.carried("down") == len(big)
    assert proxy.faults == []


def test_a_cut_ends_all_connections_and_the_next_one_stands(proxy, connect, echo):
    first, second = connect(), connect()
    assert said(first, b"a") + said(second, b"b") == b"ab"
    assert proxy.cut() == 2
    assert (rest(first), rest(second)) == (b"", b"")
    echo.wait_for_ends(2)
    assert proxy.connections == 0
    assert said(connect(), b"c") == b"c"
    assert proxy.faults == [Fault("cut", 1), Fault("cut", 2)]


def test_a_cut_can_be_a_reset(proxy, connect):
    connection = connect()
    said(connection, b"a")
    proxy.cut(reset=True)
    with pytest.raises(ConnectionResetError):
        connection.recv(1)


@pytest.mark.parametrize("count", range(6))
def test_a_cut_after_any_byte_lets_exactly_so_many_through(proxy, connect, echo, count):
    connection = connect()
    assert said(connection, b"before") == b"before"
    proxy.cut_after(count, "down")
    connection.sendall(b"hello")
    assert rest(connection) == b"hello"[:count]
    proxy.cut_after(count, "up")
    connect().sendall(b"hello!")
    echo.wait_for_ends(2)
    assert echo.heard[1] == b"hello!"[:count]
    assert proxy.faults == [Fault("cut_after", 1, "down"), Fault("cut_after", 2, "up")]


def test_a_cut_after_bytes_strikes_only_whom_it_was_meant_for(proxy, connect):
    meant, other = connect(), connect()
    said(meant, b"before")
    proxy.cut_after(4, "down", matching=b"/event")
    assert said(other, b"GET /other and much more") == b"GET /other and much more"
    meant.sendall(b"GET /ev")
    assert exactly(meant, 7) == b"GET /ev"
    meant.sendall(b"ent and more")
    assert rest(meant) == b"ent "
    assert said(other, b"goes on") == b"goes on"
    assert said(connect(), b"GET /event strikes once") == b"GET /event strikes once"


def test_of_two_cuts_each_strikes_once(proxy, connect):
    proxy.cut_after(2, "down")
    proxy.cut_after(4, "down")
    found = []
    for _ in range(3):
        connection = connect()
        connection.sendall(b"hello")
        found.append(exactly(connection, 5))
    assert found == [b"he", b"hell", b"hello"]


def test_half_a_connection_ends_and_the_other_half_goes_on(proxy, connect, echo):
    connection = connect()
    said(connection, b"a")
    proxy.half_close("down")
    assert connection.recv(1) == b""
    connection.sendall(b"bc")
    connection.shutdown(socket.SHUT_WR)
    echo.wait_for_ends(1)
    assert echo.heard == [b"abc"]
    assert proxy.faults == [Fault("half_close", 1, "down")]


def test_an_end_that_a_client_never_sent_is_told_to_the_target(proxy, connect, echo):
    connection = connect()
    said(connection, b"a")
    proxy.half_close("up")
    echo.wait_for_ends(1)
    assert rest(connection) == b""


def test_a_delay_holds_bytes_back_in_their_order(proxy, connect):
    connection = connect()
    proxy.delay(0.1, "down", jitter=0.05)
    began = time.monotonic()
    for piece in (b"a", b"b", b"c", b"d"):
        connection.sendall(piece)
        time.sleep(0.005)
    assert exactly(connection, 4) == b"abcd"
    assert time.monotonic() - began >= 0.1
    proxy.delay(0)
    assert said(connection, b"e") == b"e"
    assert proxy.faults == [Fault("delay", direction="down")]


def test_what_is_random_is_seeded(echo):
    with FaultProxy(echo.address, seed=7) as one, FaultProxy(echo.address, seed=7) as two:
        assert [one.random.random() for _ in range(3)] == [two.random.random() for _ in range(3)]


def test_a_stall_takes_connections_and_passes_nothing_until_it_is_over(proxy, connect, echo):
    old = connect()
    said(old, b"a")
    proxy.stall()
    new = connect()
    for connection in (old, new):
        connection.sendall(b"bc")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert echo.heard[0] == b"a"
    proxy.resume()
    for connection in (old, new):
        connection.settimeout(60)
        assert exactly(connection, 2) == b"bc"


def test_a_stall_one_way_leaves_the_other(proxy, connect, echo):
    connection = connect()
    proxy.stall("down")
    connection.sendall(b"abc")
    connection.shutdown(socket.SHUT_WR)
    echo.wait_for_ends(1)
    assert echo.heard == [b"abc"]
    proxy.resume()
    assert rest(connection) == b"abc"


def test_new_connections_are_refused_and_those_that_stand_go_on(proxy, connect):
    old = connect()
    said(old, b"a")
    proxy.refuse()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect()
    assert said(old, b"b") == b"b"
    proxy.admit()
    assert said(connect(), b"c") == b"c"
    assert proxy.faults == [Fault("refuse")]


def test_a_slow_line_carries_so_much_a_second(proxy, connect):
    connection = connect()
    proxy.slow(2_000, "down")
    began = time.monotonic()
    assert len(said(connection, bytes(800))) == 800
    assert time.monotonic() - began > 0.3
    proxy.slow(None)
    began = time.monotonic()
    assert len(said(connection, bytes(400_000))) == 400_000
    assert time.monotonic() - began < 60  # rather than 200


def test_an_answer_that_is_dropped_was_given_and_nobody_hears_it(proxy, connect, echo):
    connection, other = connect(), connect()
    proxy.drop_answer(b"COMMIT")
    assert said(connection, b"BEGIN;") == b"BEGIN;"
    connection.sendall(b"COM")
    assert exactly(connection, 3) == b"COM"
    connection.sendall(b"MIT;")
    assert rest(connection) == b""
    assert echo.heard[0] == b"BEGIN;COMMIT;"
    proxy.await_fault("drop_answer")
    assert said(other, b"COMMIT") == b"COMMIT"
    assert [fault.kind for fault in proxy.faults] == ["drop_answer"]


NEVER = {
    "carried in no direction": lambda proxy: proxy.carried("x"),
    "half of nothing": lambda proxy: proxy.half_close("x"),
    "both halves": lambda proxy: proxy.half_close(None),
    "after less than nothing": lambda proxy: proxy.cut_after(-5, "up"),
    "after half a byte": lambda proxy: proxy.cut_after(0.5, "up"),
    "after bytes to nowhere": lambda proxy: proxy.cut_after(5, "sideways"),
    "after a text": lambda proxy: proxy.cut_after(5, "up", matching="/prompt"),
    "back in time": lambda proxy: proxy.delay(-1),
    "a shake back in time": lambda proxy: proxy.delay(1, jitter=-1),
    "for ever": lambda proxy: proxy.delay(float("inf")),
    "late to nowhere": lambda proxy: proxy.delay(1, "sideways"),
    "at no speed": lambda proxy: proxy.slow(0),
    "slow to nowhere": lambda proxy: proxy.slow(1, "sideways"),
    "no way": lambda proxy: proxy.stall("sideways"),
    "the answer to a text": lambda proxy: proxy.drop_answer("/prompt"),
}


@pytest.mark.parametrize("order", NEVER.values(), ids=NEVER)
def test_an_order_that_could_never_strike_is_refused(proxy, connect, order):
    with pytest.raises(errors.ConfigurationError, match=" not "):
        order(proxy)
    assert said(connect(), b"a") == b"a"
    assert proxy.faults == []


def test_calm_ends_every_fault(proxy, connect):
    proxy.stall()
    proxy.slow(1)
    proxy.delay(60)
    proxy.refuse()
    proxy.cut_after(0, "up")
    proxy.drop_answer(b"a")
    proxy.calm()
    assert said(connect(), b"a") == b"a"


def test_a_fault_that_does_not_come_is_said(proxy):
    with pytest.raises(TimeoutError, match="no cut happened"):
        proxy.await_fault("cut", timeout=0.01)


def test_a_client_that_leaves_is_told_to_the_target(proxy, connect, echo):
    connection = connect()
    said(connection, b"a")
    connection.close()
    echo.wait_for_ends(1)


def test_a_target_that_is_not_there_resets_who_comes():
    with socket.create_server(("127.0.0.1", 0)) as vacant:
        address = f"127.0.0.1:{vacant.getsockname()[1]}"
    with FaultProxy(address) as proxy:
        with pytest.raises(ConnectionResetError):  # as it connects, or a moment later
            with socket.create_connection(("127.0.0.1", proxy.port), 5) as connection:
                connection.recv(1)


OPEN_FILES = Path("/proc/self/fd")


def proxy_threads():
    return {thread for thread in threading.enumerate() if thread.name == "fault-proxy"}


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="this system does not list a process's open files there")
def test_it_leaves_no_thread_and_no_socket(echo):
    before, others = len(list(OPEN_FILES.iterdir())), proxy_threads()
    with contextlib.ExitStack() as clients:
        with FaultProxy(echo.address) as proxy:
            for number in range(20):
                connection = clients.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 5))
                connection.sendall(bytes(10_000))
                if number == 10:
                    proxy.delay(60)
            proxy.refuse()
        assert proxy_threads() <= others
    echo.wait_for_ends(len(echo.heard))
    deadline = time.monotonic() + 60  # others of this process may be at it
    while len(list(OPEN_FILES.iterdir())) > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_orders_are_for_a_proxy_that_runs(echo):
    proxy = FaultProxy(echo.address)
    with pytest.raises(errors.ConfigurationError, match="not running"):
        proxy.cut()
    with proxy:
        assert proxy.start() is proxy
    proxy.stop()
    with pytest.raises(errors.ConfigurationError, match="not running"):
        proxy.stall()


@pytest.mark.parametrize("target", ["127.0.0.1", "http://127.0.0.1", "127.0.0.1:port", ""])
def test_a_target_without_a_port_is_refused(target):
    with pytest.raises(errors.ConfigurationError, match="with the port"):
        FaultProxy(target)


def test_its_url_is_the_targets_but_for_the_address(echo):
    port = echo.address.rpartition(":")[2]
    with FaultProxy(f"postgresql+psycopg://me:p%40ss@localhost:{port}/db?a=1") as proxy:
        assert proxy.url == f"postgresql+psycopg://me:p%40ss@127.0.0.1:{proxy.port}/db?a=1"
    with FaultProxy(echo.address) as proxy:
        assert proxy.url == f"127.0.0.1:{proxy.port}"
