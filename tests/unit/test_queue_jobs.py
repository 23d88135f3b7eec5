"""What a queue carries from process to process, and what a worker of another release makes of it."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from host_models import Prompt
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost, Host, HostSettings
from opencode_sessions.jobs.dispatch import run_job
from opencode_sessions.jobs.ports import QueueDispatcher
from opencode_sessions.queues.worker import Worker
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable
from opencode_sessions.store.turn_table import TurnJob

JOB = TurnJob("prompts", "1", "", "conversations:1")
FULL = TurnJob("prompts", "1", "other", "conversations:1", "acme", "a uid")


@pytest.mark.parametrize("job", [JOB, FULL])
def test_a_job_survives_a_queue(job):
    assert TurnJob.from_fields(json.loads(json.dumps(job.to_fields()))) == job


def test_a_job_names_no_field_that_it_does_not_need():
    assert JOB.to_fields() == {"table": "prompts", "pk": "1", "database": "", "record": "conversations:1"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({**FULL.to_fields(), "colour": "red"}, "fields that this release does not know: colour"),
        ({"table": "prompts"}, "is not the job of a turn: .*missing"),
        ({}, "is not the job of a turn"),
    ],
)
def test_a_job_that_a_worker_does_not_understand_is_refused_in_words(fields, said):
    with pytest.raises(ConfigurationError, match=said):
        TurnJob.from_fields(fields)


class Away:
    """A queue that carries nothing."""

    pending_lease = 60.0

    def dispatch(self, job):
        raise AssertionError

    async def adispatch(self, job):
        raise AssertionError


def blocking_host(settings=None):
    table = SQLAlchemyTurnTable(Prompt, create_engine("sqlite://"))
    return Host(settings or HostSettings(), tables=[table], dispatcher=Away())


def test_a_dispatcher_is_known_as_one_of_a_queue():
    assert isinstance(Away(), QueueDispatcher)


def test_a_worker_without_an_event_loop_refuses_a_host_that_needs_one():
    table = SQLAlchemyTurnTable(Prompt, create_async_engine("sqlite+aiosqlite://"))
    host = AsyncHost(HostSettings(), tables=[table], dispatcher=Away())
    worker = Worker(lambda: host)
    for call in (lambda: worker.run(JOB.to_fields()), worker.recover):
        with pytest.raises(ConfigurationError, match="no event loop"):
            call()


def test_a_host_that_cannot_start_in_the_worker_is_told_before_the_row_is_read():
    with blocking_host(HostSettings(namespace="one")) as other:
        host = Host(HostSettings(namespace="two"), tables=[*other.table._tables.values()], dispatcher=Away())
        with pytest.raises(ConfigurationError, match="another host with other settings"):
            run_job(host, JOB)
        with pytest.raises(ConfigurationError, match="not started"):
            _ = host.client


@pytest.mark.parametrize("queue", ["celery", "procrastinate", "dramatiq", "taskiq", "dbos"])
def test_a_queue_that_is_not_installed_is_told_with_the_extra_that_brings_it(queue, monkeypatch):
    monkeypatch.setitem(sys.modules, queue, None)
    monkeypatch.delitem(sys.modules, f"opencode_sessions.queues.{queue}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'opencode-sessions\[{queue}\]'"):
        importlib.import_module(f"opencode_sessions.queues.{queue}")
