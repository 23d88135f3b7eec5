"""The handler of SIGTERM: what was there before is done after it, and what is no business of ours is left alone."""

from __future__ import annotations

import signal
import threading

import pytest

from opencode_sessions.django.terminating import chain


@pytest.fixture(autouse=True)
def handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_what_was_there_is_called_afterwards_with_what_it_expects():
    told = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append((number, frame is not None)))
    chain(lambda: told.append("left"))
    signal.raise_signal(signal.SIGTERM)
    assert told == ["left", (signal.SIGTERM, True)]


def test_chained_twice_it_stops_once():
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append("ended"))
    for _ in range(2):
        chain(lambda: told.append("left"))
    signal.raise_signal(signal.SIGTERM)
    assert told == ["left", "ended"]


def test_a_host_that_chains_too_and_is_set_up_twice_comes_to_an_end():
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append("ended"))
    chain(lambda: told.append("left"))
    ours = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *which: (told.append("the host's"), ours(*which)))
    chain(lambda: told.append("left"))
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
