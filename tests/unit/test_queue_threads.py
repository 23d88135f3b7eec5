"""The threads of queues in an event loop: turns and brokers that block hold up nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import dramatiq
import pytest
from celery import Celery
from dramatiq.brokers.stub import StubBroker

from opencode_sessions.queues.celery import CeleryDispatcher
from opencode_sessions.queues.dbos import DBOSDispatcher
from opencode_sessions.queues.dramatiq import DramatiqDispatcher
from opencode_sessions.queues.worker import Worker
from opencode_sessions.store.turn_table import TurnJob

PATIENCE = 30
JOB = TurnJob("prompts", "1", "", "conversations:1")
TURNS = 12


class HeldWorker(Worker):
    """A worker of a host that blocks. Its turns all end together, when `TURNS` of them run at once."""

    def __init__(self):
        self.gave_back = []
        table = SimpleNamespace(give_back=lambda: self.gave_back.append(threading.get_ident()))
        super().__init__(lambda: SimpleNamespace(table=table))
        self.ran, self.looked = [], []
        self._all_run = threading.Barrier(TURNS + 1)

    def stop_at_signals(self):
        """Nothing: the signals of the tests' process are its own."""

    def run(self, fields):
        self.ran.append(threading.get_ident())
        self._all_run.wait(PATIENCE)

    def recover(self):
        self.looked.append(threading.get_ident())

    async def end_turns(self):
        await asyncio.get_running_loop().run_in_executor(None, self._all_run.wait, PATIENCE)


def with_one_thread(main):
    """Run `main` in an event loop that has one thread for all that blocks, as a small container nearly has."""

    async def all_of_it():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        await asyncio.wait_for(main(), PATIENCE)

    asyncio.run(all_of_it())


def test_turns_of_a_blocking_host_run_all_at_once_and_recovery_and_name_lookup_go_on():
    worker = HeldWorker()

    async def main():
        turns = [asyncio.create_task(worker.arun(JOB.to_fields())) for _ in range(TURNS)]
        await asyncio.sleep(0)
        await worker.arecover()
        assert len(worker.looked) == 1
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        await worker.end_turns()
        await asyncio.gather(*turns)

    with_one_thread(main)
    assert len(worker.ran) == TURNS
    assert sorted(worker.gave_back) == sorted(worker.ran + worker.looked)


def test_turn_of_a_blocking_host_that_raises_gives_its_connections_back_and_raises_to_the_queue():
    worker = HeldWorker()
    worker._all_run.abort()

    async def main():
        with pytest.raises(threading.BrokenBarrierError):
            await worker.arun(JOB.to_fields())

    with_one_thread(main)
    assert worker.gave_back == worker.ran


def celery_dispatcher():
    return CeleryDispatcher(Celery("shop"), lambda: None)


def dramatiq_dispatcher():
    before, broker = dramatiq.broker.global_broker, StubBroker()
    try:
        return DramatiqDispatcher(broker, lambda: None)
    finally:
        dramatiq.broker.global_broker = before
        broker.close()


def dbos_dispatcher():
    return DBOSDispatcher(SimpleNamespace(), lambda: None)


@pytest.mark.parametrize("make", [celery_dispatcher, dramatiq_dispatcher, dbos_dispatcher])
def test_broker_that_hangs_takes_few_threads_and_none_of_the_event_loop(make, monkeypatch):
    trace, go_on, sending = contextvars.ContextVar("trace"), threading.Event(), []

    def hang(self, job):
        sending.append((threading.get_ident(), trace.get()))
        go_on.wait(PATIENCE)

    monkeypatch.setattr(make().__class__, "dispatch", hang)
    dispatcher = make()

    async def main():
        trace.set("of the request")
        sends = [asyncio.create_task(dispatcher.adispatch(JOB)) for _ in range(20)]
        await asyncio.sleep(0)
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        assert len(sending) <= 4
        go_on.set()
        await asyncio.gather(*sends)

    with_one_thread(main)
    assert len(sending) == 20
    assert len({thread for thread, _ in sending}) <= 4
    assert {said for _, said in sending} == {"of the request"}
