"""The handler of SIGTERM: what was there before is done after it, and what is no business of ours is left alone."""

from __future__ import annotations

import signal
import threading

import pytest

from opencode_sessions.runtime import shutdown
from opencode_sessions.runtime.shutdown import on_signal


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    monkeypatch.setattr(shutdown, "_stops", {})
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def chain(stop):
    on_signal(signal.SIGTERM, stop)
    shutdown.install_handlers()


def test_what_was_there_is_called_afterwards_with_what_it_expects():
    told = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append((number, frame is not None)))
    chain(lambda: told.append("left"))
    signal.raise_signal(signal.SIGTERM)
    assert told == ["left", (signal.SIGTERM, True)]


def test_chained_twice_it_stops_once():
    told = []

    def leave():
        told.append("left")

    signal.signal(signal.SIGTERM, lambda *_: told.append("ended"))
    for _ in range(2):
        chain(leave)
    signal.raise_signal(signal.SIGTERM)
    assert told == ["left", "ended"]


def test_a_host_that_chains_too_and_is_set_up_twice_comes_to_an_end():
    told = []

    def leave():
        told.append("left")

    signal.signal(signal.SIGTERM, lambda *_: told.append("ended"))
    chain(leave)
    ours = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *which: (told.append("the host's"), ours(*which)))
    chain(leave)
    signal.raise_signal(signal.SIGTERM)
    assert told == ["left", "the host's", "left", "ended"]


def test_a_signal_that_is_ignored_stays_so():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    chain(lambda: pytest.fail("it was called"))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.raise_signal(signal.SIGTERM)


def test_outside_of_the_main_thread_nothing_is_changed():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    thread = threading.Thread(target=chain, args=[lambda: None])
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_ctrl_c_that_raises_goes_on_raising():
    on_signal(signal.SIGINT, lambda: pytest.fail("it was called"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shutdown.install_handlers()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_server_that_puts_its_handler_in_place_later_is_chained_at_the_next_stream():
    told = []
    chain(lambda: told.append("left"))
    signal.signal(signal.SIGTERM, lambda *_: told.append("the server's"))
    shutdown.install_handlers()
    signal.raise_signal(signal.SIGTERM)
    assert told == ["left", "the server's"]
