from __future__ import annotations

import threading

import pytest
from interrupting import interrupt_soon

from opencode_sessions.cli.interrupts import run_stoppable


def test_work_that_is_left_alone_gives_its_result():
    assert run_stoppable(lambda: 42, pytest.fail) == 42


def test_an_error_of_the_work_is_raised():
    with pytest.raises(TimeoutError, match="its own"):
        run_stoppable(lambda: (_ for _ in ()).throw(TimeoutError("its own")), pytest.fail)


def test_an_interrupt_asks_the_work_to_stop_and_gives_its_result():
    stopped = threading.Event()
    interrupt_soon()
    assert run_stoppable(lambda: stopped.wait(60), lambda _: stopped.set()) is True


def test_work_that_did_not_hear_is_asked_again():
    asked, stopped = [], threading.Event()

    def stop(attempt):
        asked.append(attempt)
        if attempt == 2:
            stopped.set()

    interrupt_soon()
    assert run_stoppable(lambda: stopped.wait(60), stop) is True
    assert asked[:2] == [1, 2]


def test_a_second_interrupt_leaves_at_once():
    done = threading.Event()

    def stop(attempt):
        if attempt == 1:  # another one would strike whoever waits after this test
            interrupt_soon()

    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        run_stoppable(lambda: done.wait(60), stop)
    done.set()
