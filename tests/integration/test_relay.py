"""What processes tell each other through real brokers, blocking and with asyncio; and what happens without them."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from ports import free_port
from selection import sample

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.live import relay
from opencode_sessions.live.notes import Delta, RowWritten, Standing, TextEnd
from opencode_sessions.live.notify_postgres import PostgresNotifier
from opencode_sessions.live.notify_valkey import ValkeyNotifier
from opencode_sessions.live.relay import Relay
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.store.turn_table import RowKey

KEY, OTHER = RowKey("messages", "1", "default"), RowKey("messages", "2", "default")
DELTA = Delta(TextEnd("prt_1", 3, 7), 'quoted "é\x00\ud83d')
WRITTEN = RowWritten(4, 2, (TextEnd("prt_1", 3, 7),))
WAYS = sample(["valkey-threads", "valkey-tasks", "psycopg-threads", "psycopg-tasks", "asyncpg-tasks"])


@pytest.fixture
def broker(request):
    """Call it for a notifier, of a server for the whole run."""

    def make(kind):
        if kind == "valkey":
            return ValkeyNotifier(request.getfixturevalue("valkey")())
        return PostgresNotifier(request.getfixturevalue("postgres").url(kind))

    return make


class Process:
    """What one process has: a relay, in threads of its own or in a loop in a thread."""

    def __init__(self, notifier, *, suspends):
        self.heard = []
        self._loop = asyncio.new_event_loop() if suspends else None
        if self._loop is not None:
            self._thread = threading.Thread(target=self._loop.run_forever)
            self._thread.start()
        self.relay = Relay(notifier, Tasks() if suspends else Threads())

    def do(self, function, *arguments):
        """In its thread."""

        async def call():
            return function(*arguments)

        return function(*arguments) if self._loop is None else self._await(call())

    def _await(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def follow(self, key=KEY):
        return self.do(self.relay.follow, key, self.heard.append)

    def tell(self, note, key=KEY):
        self.do(self.relay.tell, key, note)

    def wait(self, *heard):
        """Until it has heard that, last."""
        until(lambda: self.heard[-len(heard) :] == [*heard])

    def end(self):
        if self._loop is None:
            run_sync(self.relay.close())
            return
        self._await(self.relay.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def start():
    """Call it for a process."""
    started = []

    def start(notifier, *, suspends=False):
        started.append(Process(notifier, suspends=suspends))
        return started[-1]

    yield start
    for process in started:
        process.end()


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("way", WAYS)
def test_what_one_process_tells_another_one_hears_in_order_and_of_this_row_only(start, broker, way):
    kind, _, how = way.partition("-")
    here, there = (start(broker(kind), suspends=how == "tasks") for _ in range(2))
    there.follow()
    there.wait(Standing(True))
    here.tell(RowWritten(1, 1), OTHER)
    for note in (DELTA, WRITTEN, RowWritten()):
        here.tell(note)
    there.wait(DELTA, WRITTEN, RowWritten())
    unfollow = there.follow(OTHER)
    there.wait(Standing(True))
    here.tell(WRITTEN, OTHER)
    there.wait(WRITTEN)
    there.do(unfollow)
    here.tell(DELTA, OTHER)
    here.tell(DELTA)
    there.wait(WRITTEN, DELTA)
    assert len(there.heard) == 7


@pytest.mark.parametrize("way", WAYS)
def test_a_process_does_not_hear_itself_but_that_a_row_was_written(start, broker, way):
    kind, _, how = way.partition("-")
    here, there = (start(broker(kind), suspends=how == "tasks") for _ in range(2))
    here.follow()
    here.wait(Standing(True))
    for note in (DELTA, WRITTEN, RowWritten()):
        here.tell(note)
    there.tell(DELTA)
    here.wait(RowWritten(), DELTA)
    assert len(here.heard) == 3


@pytest.mark.full
def test_a_process_that_tells_all_the_time_minds_whether_notes_come_through(start, broker, monkeypatch):
    monkeypatch.setattr(relay, "_PROBE", 0.5)
    monkeypatch.setattr(relay, "_SILENCE", 6.0)  # which is looked at when a note comes, or every 5 s
    here = start(broker("valkey"))
    here.follow()
    here.wait(Standing(True))
    until_then = time.monotonic() + 12
    while time.monotonic() < until_then:
        here.tell(DELTA)
        time.sleep(0.01)
    assert here.heard == [Standing(True)]


def test_without_a_notifier_a_row_that_was_written_is_told_in_this_process(start):
    alone = start(None)
    alone.follow()
    alone.tell(DELTA)
    alone.tell(RowWritten())
    assert alone.heard == [RowWritten()]


@pytest.mark.full
@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_a_broker_that_comes_back_is_used_again_and_was_missed_once(start, own_valkey, caplog, how):
    caplog.set_level(logging.INFO, "opencode_sessions.live")
    here, there = (start(ValkeyNotifier(own_valkey.url), suspends=how == "tasks") for _ in range(2))
    there.follow()
    there.wait(Standing(True))
    own_valkey.stop()
    there.wait(Standing(False))
    here.tell(DELTA)
    missed = "cannot notify each other now"
    until(lambda: len([each for each in caplog.messages if missed in each]) == 2)
    time.sleep(1)  # tries to connect meanwhile
    own_valkey.start()
    until(lambda: Standing(True) in there.heard[2:])
    here.tell(WRITTEN)
    until(lambda: WRITTEN in there.heard)
    until(lambda: len([each for each in caplog.messages if "notify each other again" in each]) == 2)
    assert len([each for each in caplog.messages if missed in each]) == 2


@pytest.mark.full
@pytest.mark.parametrize("kind", ["psycopg-threads", "psycopg-tasks", "asyncpg-tasks"])
def test_a_connection_that_postgresql_ends_is_made_again(start, broker, postgres, kind):
    driver, _, how = kind.partition("-")
    here, there = (start(broker(driver), suspends=how == "tasks") for _ in range(2))
    there.follow()
    there.wait(Standing(True))
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    until(lambda: there.heard[1:] == [Standing(False), Standing(True)])
    here.tell(DELTA)
    until(lambda: DELTA in there.heard)


@pytest.mark.parametrize("kind", ["valkey", "psycopg"])
def test_a_broker_that_is_not_there_stops_nothing_and_is_missed_once(start, caplog, kind):
    port = free_port()
    notifier = (
        ValkeyNotifier(f"redis://127.0.0.1:{port}")
        if kind == "valkey"
        else PostgresNotifier(f"postgresql://127.0.0.1:{port}/none")
    )
    here = start(notifier)
    here.follow()
    here.tell(DELTA)
    until(lambda: [each for each in caplog.messages if "cannot notify each other now" in each])
    time.sleep(1)
    assert len(caplog.messages) == 1
    assert Standing(True) not in here.heard


def test_a_forked_child_has_connections_of_its_own(start, valkey, monkeypatch):
    monkeypatch.setattr(relay, "_FLUSH", 60.0)  # what a child on a busy machine may take to connect
    notifier = ValkeyNotifier(valkey())
    here, there = start(notifier), start(notifier)
    there.follow()
    there.wait(Standing(True))
    here.tell(DELTA)
    there.wait(DELTA)
    child = os.fork()
    if child == 0:
        try:
            here.relay.tell(KEY, WRITTEN)
            run_sync(here.relay.close())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    there.wait(WRITTEN)
    here.tell(DELTA)
    there.wait(DELTA)


def test_a_note_is_sent_although_the_relay_is_closed_before_its_thread_has_begun(start, valkey, monkeypatch):
    monkeypatch.setattr(relay, "_FLUSH", 60.0)
    send_all, closing = Relay._send_all, threading.Event()

    async def late(self, bells):
        closing.wait(60)
        await send_all(self, bells)

    notifier = ValkeyNotifier(valkey())
    there = start(notifier)
    there.follow()
    there.wait(Standing(True))
    monkeypatch.setattr(Relay, "_send_all", late)
    short_lived = Relay(notifier, Threads())
    short_lived.tell(KEY, WRITTEN)
    with monkeypatch.context() as patched:
        patched.setattr(Relay, "_wake_receiver", lambda self: closing.set())  # by now it closes
        run_sync(short_lived.close())
    there.wait(WRITTEN)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: ValkeyNotifier("http://localhost"), "URL of ValkeyNotifier"),
        (lambda: PostgresNotifier("mysql://localhost"), "URL of PostgresNotifier"),
        (lambda: PostgresNotifier("postgresql://localhost", prefix='a"b'), "ASCII identifier"),
    ],
)
def test_a_notifier_that_cannot_work_is_refused(make, problem):
    with pytest.raises(ConfigurationError, match=problem):
        make()


@pytest.mark.parametrize(
    ("missing", "make", "extra"),
    [
        ("redis", "notify_valkey import ValkeyNotifier as make; make('redis://localhost')", "valkey"),
        (
            "psycopg asyncpg",
            "notify_postgres import PostgresNotifier as make; make('postgresql://h')",
            "postgres",
        ),
    ],
)
def test_a_package_that_is_not_installed_is_named(missing, make, extra):
    hide = f"import sys; sys.modules.update(dict.fromkeys({missing.split()!r}));"
    ended = subprocess.run(
        [sys.executable, "-c", f"{hide} from opencode_sessions.live.{make}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "ConfigurationError" in ended.stderr
    assert f"opencode-sessions[{extra}]" in ended.stderr


def test_no_password_is_in_what_is_printed_of_a_notifier():
    for notifier in (
        ValkeyNotifier("redis://:secret@localhost"),
        PostgresNotifier("postgresql://a:secret@h/d"),
    ):
        assert "secret" not in repr(notifier)
