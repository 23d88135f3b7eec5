"""A managed server is restarted when its memory exceeds a limit, and the turns that run then survive: for real."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from fix_cli import eventually

from opencode_sessions import Client, Observer, OpencodeServer, Session, Turn, allow, errors
from opencode_sessions.server import recycling
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.wire.memory import group_memory

GIB = 1024**3
SAID = "one two three four five six seven eight nine ten"
SLOW = f"!slow 0.4\n!say {SAID}"


class Memory:
    """The memory of servers, which a test decides: 1 GiB, and 3 GiB for the one that is told to exceed that."""

    def __init__(self):
        self._exceeding = None

    def exceed(self, pid):
        self._exceeding = pid

    def __call__(self, pid):
        return 3 * GIB if pid == self._exceeding else GIB


class Begun(Observer):
    """Knows that the model has begun to answer."""

    def __init__(self):
        self.event = threading.Event()

    def first_token(self, seconds):
        self.event.set()


@pytest.fixture
def memory(monkeypatch):
    memory = Memory()
    monkeypatch.setattr(recycling, "group_memory", memory)
    return memory


def run(client, prompt, observer=None, directory=None):
    message, record = MemoryMessage(prompt), MemoryRecord("A turn that runs on", directory=directory)
    session = Session(record, permissions_for=lambda _: [allow("*")])
    return Turn(message, session, client, observer=observer or Observer()).run()


def prompts_of(client, result):
    return [message for message in client.messages(result.session_id) if message.info.role == "user"]


@pytest.mark.full
def test_turns_in_flight_survive_a_restart_with_one_prompt_and_one_answer(own_server, memory):
    server = own_server(recycle_at=2 * GIB, recycle_grace=0.5)
    before = (server.pid, server.url, server.password, server.data)
    observers = [Begun() for _ in range(3)]
    with Client(server.url, password=server.password) as client, ThreadPoolExecutor() as threads:
        turns = [threads.submit(run, client, SLOW, observer) for observer in observers]
        assert all(observer.event.wait(60) for observer in observers)
        memory.exceed(server.pid)
        results = [turn.result(timeout=120) for turn in turns]
        assert (server.url, server.password, server.data) == before[1:]
        assert server.pid != before[0]
        for result in results:
            assert (result.status, result.content) == (TurnStatus.COMPLETED, SAID)
            assert len(prompts_of(client, result)) == 1


@pytest.mark.full
def test_busy_sessions_get_the_grace_period_to_end(own_server, memory):
    server = own_server(recycle_at=2 * GIB, recycle_grace=600)
    pid, observer = server.pid, Begun()
    with Client(server.url, password=server.password) as client, ThreadPoolExecutor() as threads:
        turn = threads.submit(run, client, SLOW, observer)
        assert observer.event.wait(60)
        memory.exceed(pid)
        result = turn.result(timeout=120)
        assert result.content == SAID
        eventually(lambda: server.pid != pid)  # once nothing runs
        assert len(list(client.messages(result.session_id))) == 2  # nothing was asked twice
    assert server.running


@pytest.mark.full
def test_a_server_that_is_stopped_is_not_started_again(own_server, memory):
    server = own_server(recycle_at=2 * GIB, recycle_grace=0.1)
    pid = server.pid
    threads = {thread for thread in threading.enumerate() if "recycler" in thread.name}
    memory.exceed(pid)
    server.stop()
    assert not server.running
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not server.running


@pytest.mark.full
def test_a_limit_that_the_server_exceeds_from_the_start_is_refused(own_server):
    with pytest.raises(
        errors.ServerStartError, match=r"recycle_at is 50 MB, and opencode takes \d+ MB when it has"
    ):
        own_server(recycle_at=50_000_000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recycle_at": 0}, "recycle_at must be a number of bytes"),
        ({"recycle_at": "2G"}, "recycle_at must be a number of bytes"),
        ({"recycle_at": GIB, "recycle_grace": -1}, "recycle_grace must be a number of seconds"),
    ],
)
def test_a_limit_that_is_none_is_refused(options, said):
    with pytest.raises(errors.ConfigurationError, match=said):
        OpencodeServer(**options)


@pytest.mark.full
def test_memory_that_directories_take_is_given_back(own_server, tmp_path):
    fresh = group_memory(own_server().pid)
    server = own_server(recycle_at=fresh + 80_000_000, recycle_grace=1)
    pid, results = server.pid, []
    with Client(server.url, password=server.password) as client:
        for number in range(100):
            if server.pid != pid:
                break
            directory = tmp_path / str(number)
            directory.mkdir()
            with suppress(errors.WireError):  # it is restarted in this instant
                results.append(run(client, "hello", directory=str(directory)))
        eventually(lambda: server.pid != pid)
        assert (group_memory(server.pid) or 0) < fresh + 80_000_000
        assert {result.content for result in results} == {'You said: "hello".'}
        assert all(client.get(result.session_id) for result in results)
