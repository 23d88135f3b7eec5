from __future__ import annotations

import signal
import sys
import threading
import time
from concurrent.futures import Future

import pytest

from opencode_sessions.cli.interrupts import run_stoppable


def interrupt_soon():
    """Ctrl-C, as soon as the main thread waits for the work."""
    main = threading.main_thread().ident

    def interrupt():
        while Future.result.__code__ not in codes_of(sys._current_frames()[main]):
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()


def codes_of(frame):
    """What a thread is in the middle of."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


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

    def stop(_attempt):
        interrupt_soon()

    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        run_stoppable(lambda: done.wait(60), stop)
    done.set()
