"""Telemetry is one word of a host's settings: with threads, with asyncio and with Django."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from fix_django_app import wait_until
from fix_telemetry import Told
from host_rows import AsyncRows, Rows, urls_of

from opencode_sessions import ConfigurationError
from opencode_sessions.django import cancel, enqueue
from opencode_sessions.host import HostSettings, Server
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.telemetry import Telemetry

TREE = {
    "request": {
        "opencode.run": {"opencode.ensure": {}},
        "invoke_agent build": {"chat main": {}},
    }
}
MEASURED = {
    "opencode.runs",
    "opencode.session.ensure.duration",
    "opencode.turn.duration",
    "opencode.turn.queue_delay",
    "opencode.turns",
}


@pytest.fixture
def told():
    with Told() as told:
        yield told


@pytest.fixture
def urls(request, tmp_path):
    return urls_of(request, tmp_path, "sqlite")


def seen(told):
    """Once the turn's span has ended."""
    return wait_until(lambda: "invoke_agent build" in {span.name for span in told.spans})


def states(told):
    found = told.metrics().get("opencode.turns", ())
    return {point.attributes["opencode.turn.state"]: point.value for point in found}


def test_a_host_with_threads_tells_of_its_turns_in_the_trace_of_the_request(server, urls, told):
    with Rows(server, urls[0]) as rows, rows.host(telemetry=told.telemetry) as host:
        with told.tracer.start_as_current_span("request"):
            message = rows.send(host, "hello")
        rows.ended(message)
        seen(told)
        assert told.tree() == TREE
        assert told.metrics().keys() >= MEASURED
        assert rows.row(message).enqueued_at is not None
        run_sync(host.count())  # as recovery does: its last count may be from before the end
        assert states(told) == {"queued": 0, "running": 0, "asking": 0, "abandoned": 0}


def test_a_host_with_asyncio_does_so_too(server, urls, told):
    async def main():
        async with AsyncRows(server, urls[1]) as rows, rows.host(telemetry=told.telemetry) as host:
            with told.tracer.start_as_current_span("request"):
                message = await rows.send(host, "hello")
            await rows.ended(message)
            await asyncio.to_thread(seen, told)

    asyncio.run(main())
    assert told.tree() == TREE
    assert told.metrics().keys() >= MEASURED


def test_a_turn_that_cannot_be_begun_is_told_though_it_has_no_run(server, urls, told):
    options = {"telemetry": told.telemetry, "turn_options": lambda _: {"model": "of no provider"}}
    with Rows(server, urls[0]) as rows, rows.host(**options) as host:
        with told.tracer.start_as_current_span("request"):
            message = rows.send(host, "hello")
        assert rows.ended(message).status == "failed"
        wait_until(lambda: len(told.spans) > 1)
    assert told.tree() == {"request": {"invoke_agent": {}}}
    assert told.span("invoke_agent").attributes["error.type"] == "ConfigurationError"


def test_a_django_project_tells_of_its_turns_and_of_those_that_it_cancels(chat, opencode, told):
    with chat.configured(opencode, TELEMETRY=told.telemetry, RECOVER_AT_START=True):
        with told.tracer.start_as_current_span("request"):
            message = chat.message("hello")
            never = chat.message("never")
            enqueue(message)
        cancel(never, by="ada")
        chat.ended(message)
        # Beside it may stand what recovery finds of other tests.
        wait_until(lambda: told.tree().get("request") == {**TREE["request"], "invoke_agent": {}})
        assert told.span("invoke_agent").attributes["opencode.turn.status"] == "cancelled"
        wait_until(lambda: told.metrics().keys() >= MEASURED)


@pytest.mark.usefixtures("held")
def test_a_host_with_several_servers_tells_how_each_does(server, urls, told):
    servers = {
        "a": Server(url=server.url, password=server.password, turns=3, weight=2.0),
        "gone": Server(url="http://127.0.0.1:1"),
    }
    options = {"server": None, "servers": servers, "server_for": lambda _: "a", "telemetry": told.telemetry}
    with Rows(server, urls[0]) as rows, rows.host(**options) as host:
        message = rows.send(host, "!say one two three four five six")
        rows.until(message, lambda row: "four" in row.content)
        run_sync(host.count())
        found = told.metrics()
        host.cancel(rows.row(message), by="ada")
    assert {
        name: {point.attributes["opencode.server"]: point.value for point in points}
        for name, points in found.items()
        if name.startswith("opencode.server.")
    } == {
        "opencode.server.up": {"a": 1, "gone": 0},
        "opencode.server.turns": {"a": 1, "gone": 0},
        "opencode.server.places": {"a": 2},
        "opencode.server.load": {"a": 0.5, "gone": 0.0},
    }


def test_settings_that_say_the_same_are_equal():
    assert HostSettings(telemetry=True) == HostSettings(telemetry=Telemetry())
    assert HostSettings(telemetry=True) != HostSettings(telemetry=Telemetry(content=True))
    assert HostSettings(telemetry=False) == HostSettings()
    with pytest.raises(ConfigurationError, match="telemetry must be True or a Telemetry, not 'yes'"):
        HostSettings(telemetry="yes")


def test_without_the_package_the_setting_says_what_to_install():
    code = """
import sys
sys.modules["opentelemetry"] = None
from opencode_sessions import ConfigurationError
from opencode_sessions.host import HostSettings
from opencode_sessions.store.memory import MemoryMessage
assert MemoryMessage("hello").state.trace is None
try:
    HostSettings(telemetry=True)
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "telemetry needs opentelemetry, which is not installed: pip install 'opencode-sessions[otel]'\n"
    )
