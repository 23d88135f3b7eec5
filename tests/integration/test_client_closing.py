"""A client is closed: who waits is told, and neither a thread nor a connection is left, whatever was just going on."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time

import pytest
from event_stage import Stage
from fix_cli import eventually

from opencode_sessions import Client, Session, Turn, aio, errors
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord, MemoryRecordStore
from opencode_sessions.wire import event_stream


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


@pytest.fixture
def silent():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def url(listener):
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def slowly(monkeypatch):
    """Connections to a server are made, and take until `go`; `made` says that one is there."""
    slowly = Slowly()
    connect, connect_async = socket.create_connection, asyncio.BaseEventLoop.create_connection

    def slow(*arguments, **options):
        connection = connect(*arguments, **options)
        slowly.made.set()
        assert slowly.go.wait(30)
        return connection

    async def slow_async(*arguments, **options):
        connection = await connect_async(*arguments, **options)
        slowly.made.set()
        assert await asyncio.to_thread(slowly.go.wait, 30)
        return connection

    monkeypatch.setattr(socket, "create_connection", slow)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", slow_async)
    return slowly


class Slowly:
    def __init__(self):
        self.made, self.go = threading.Event(), threading.Event()


class Aside(threading.Thread):
    """What a function raises in a thread of its own."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self._call = (function, *arguments)
        self.raised = None
        self.start()

    def run(self):
        function, *arguments = self._call
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - the test looks what it is
            self.raised = error

    def ended(self):
        self.join(25)  # less than a client waits for an answer
        assert not self.is_alive()
        return self.raised


def readers():
    names = ("opencode-sessions events", "opencode-sessions probe")
    return {thread for thread in threading.enumerate() if thread.name in names}


def heard(listener):
    """What came over the one connection, to its end."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(30)
        return connection.recv(65536)


def test_it_wakes_who_waits_and_leaves_no_thread(stage):
    others = readers()  # of clients that live as long as the process, from tests that ran before
    client = Client(stage.url)
    waiting = Aside(client.subscribe("ses_1").next, 100)
    client.close()
    assert isinstance(waiting.ended(), errors.ConnectionLostError)
    eventually(lambda: readers() <= others)  # a starved one may need longer than the client waits for it


def test_who_waits_for_an_answer_is_told_at_once(silent):
    client = Client(url(silent))
    asking = Aside(client.abort, "ses_1")
    connection, _ = silent.accept()
    with connection:
        assert connection.recv(65536).startswith(b"POST ")
        time.sleep(0.2)  # by now it reads; if it does not yet, it is told all the same
        client.close()
        raised = asking.ended()
    assert isinstance(raised, errors.WireError)
    assert "the client was closed" in str(raised)


def test_a_request_that_is_just_connecting_is_not_sent_and_leaves_no_connection(silent, slowly):
    client = Client(url(silent))
    asking = Aside(client.abort, "ses_1")
    assert slowly.made.wait(30)
    client.close()
    slowly.go.set()
    raised = asking.ended()
    assert isinstance(raised, errors.ServerUnreachableError)
    assert "the client was closed" in str(raised)
    assert heard(silent) == b""


def test_so_it_is_with_asyncio(silent, slowly):
    async def main():
        client = aio.Client(url(silent))
        asking = asyncio.create_task(client.abort("ses_1"))
        await asyncio.to_thread(slowly.made.wait, 30)
        await client.close()
        slowly.go.set()
        with pytest.raises(errors.ServerUnreachableError, match="the client was closed"):
            await asking
        return await asyncio.to_thread(heard, silent)

    assert asyncio.run(main()) == b""


def test_a_reader_of_events_that_is_just_connecting_ends_with_its_connection(silent, slowly):
    others = readers()
    client = Client(url(silent))
    subscribing = Aside(client.subscribe, "ses_1")
    assert slowly.made.wait(30)
    client.close()
    assert isinstance(subscribing.ended(), errors.ConnectionLostError)
    slowly.go.set()
    eventually(lambda: readers() <= others)
    assert heard(silent) == b""


def test_a_reader_that_pauses_before_it_connects_again_does_so_no_more(stage, monkeypatch, caplog):
    others = readers()
    monkeypatch.setattr(event_stream, "_FIRST_PAUSE", 60.0)
    monkeypatch.setattr(event_stream, "_LONGEST_PAUSE", 60.0)
    client = Client(stage.url)
    client.subscribe("ses_1")
    stage.cut()
    eventually(lambda: "the event stream broke" in caplog.text)
    client.close()
    eventually(lambda: readers() <= others, seconds=25)  # rather than for a minute
    assert len(stage.connections) == 1


class Looking(MemoryRecordStore):
    """Tells that it was looked at."""

    def __init__(self, record):
        super().__init__(record)
        self.record, self.looks = record, 0

    async def claim(self, key, seconds):
        self.looks += 1
        return await super().claim(key, seconds)


@pytest.fixture
def taken():
    """The store of a record whose turn somebody else has."""
    record = MemoryRecord("In use")
    run_sync(MemoryRecordStore(record).claim("messages:1", 3600))
    return Looking(record)


def test_who_waits_for_a_records_turn_is_told(silent, taken):
    client = Client(url(silent))
    session = Session(taken.record, store=taken)
    waiting = Aside(Turn(MemoryMessage("hi"), session, client, when_busy="wait").run)
    eventually(lambda: taken.looks)
    client.close()
    raised = waiting.ended()
    assert isinstance(raised, errors.ServerUnreachableError)
    assert "the client was closed" in str(raised)


def test_with_asyncio_so_is_who_waits_for_a_records_turn(silent, taken):
    async def main():
        client = aio.Client(url(silent))
        session = aio.Session(taken.record, store=taken)
        waiting = asyncio.create_task(aio.Turn(MemoryMessage("hi"), session, client, when_busy="wait").run())
        await asyncio.to_thread(eventually, lambda: taken.looks)
        await client.close()
        with pytest.raises(errors.ServerUnreachableError, match="the client was closed"):
            await asyncio.wait_for(waiting, 30)

    asyncio.run(main())


def in_a_child(check):
    """What `check` gives in a forked child, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(check()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as told:
        said = told.read().decode()
    os.waitpid(pid, 0)
    return said


def test_one_that_was_closed_is_closed_in_a_forked_child_too(stage):
    client = Client(stage.url)
    client.close()

    def raised():
        return [Aside(client.subscribe).ended(), Aside(client.abort, "ses_1").ended()]

    said = "ServerUnreachableError('the client was closed')"
    assert in_a_child(raised) == f"[{said}, {said}]"


def test_threads_of_a_forked_child_that_begin_at_once_share_one_pool_which_is_closed_with_it():
    with socket.create_server(("127.0.0.1", 0)) as vacant:
        address = url(vacant)

    def made():
        transport, together = client._core._transport, threading.Barrier(8)
        connect, pools = transport._connect, []
        transport._connect = lambda: pools.append(connect()) or pools[-1]

        def begin():
            together.wait(30)
            client.abort("ses_1")

        for beginning in [Aside(begin) for _ in range(8)]:
            beginning.ended()
        client.close()
        return [pool.is_closed for pool in pools]

    with Client(address) as client:
        assert in_a_child(made) == "[True]"
