"""A host that two callers stop at once, such as a signal handler and the app's lifespan."""

from __future__ import annotations

import asyncio
import threading

import pytest
from host_models import Prompt
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost, Host, HostSettings
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable

EXIT = (None, None, None)


class Queue:
    """A queue that gets no job here."""

    pending_lease = 60.0

    def dispatch(self, job):
        raise AssertionError


def test_async_host_is_stopped_twice_at_once_and_second_stop_waits_for_first():
    async def main():
        table = SQLAlchemyTurnTable(Prompt, create_async_engine("sqlite+aiosqlite://"))
        host = AsyncHost(HostSettings(), tables=[table], dispatcher=Queue())
        closes, go_on = [], asyncio.Event()

        async def close(timeout):
            closes.append(timeout)
            await go_on.wait()

        host.live.close = close
        await host.__aenter__()
        stops = [asyncio.create_task(host.__aexit__(*EXIT)) for _ in range(2)]
        await asyncio.wait(stops, timeout=0.1)
        assert not any(stop.done() for stop in stops)
        go_on.set()
        await asyncio.gather(*stops)
        assert len(closes) == 1
        with pytest.raises(ConfigurationError, match="not started"):
            _ = host.client

    asyncio.run(main())


def test_async_host_is_restarted_while_a_second_stop_waits_and_the_new_start_goes_on():
    async def main():
        table = SQLAlchemyTurnTable(Prompt, create_async_engine("sqlite+aiosqlite://"))
        host = AsyncHost(HostSettings(), tables=[table], dispatcher=Queue())

        async def close(timeout):
            await asyncio.sleep(0.05)  # the second stop begins meanwhile

        async def restart():
            await host.__aexit__(*EXIT)
            await host.__aenter__()

        host.live.close = close
        await host.__aenter__()
        await asyncio.gather(restart(), host.__aexit__(*EXIT))
        assert host.client is not None
        await host.__aexit__(*EXIT)

    asyncio.run(main())


def test_blocking_host_is_stopped_twice_at_once_and_second_stop_waits_for_first():
    table = SQLAlchemyTurnTable(Prompt, create_engine("sqlite://"))
    host = Host(HostSettings(), tables=[table], dispatcher=Queue())
    closes, errors, go_on = [], [], threading.Event()

    async def close(timeout):
        closes.append(timeout)
        go_on.wait(60)

    def stop():
        try:
            host.__exit__(*EXIT)
        except Exception as error:  # noqa: BLE001 - checked below
            errors.append(error)

    host.live.close = close
    host.__enter__()
    stops = [threading.Thread(target=stop) for _ in range(2)]
    for each in stops:
        each.start()
    stops[0].join(0.1)
    assert all(each.is_alive() for each in stops)
    go_on.set()
    for each in stops:
        each.join()
    assert errors == []
    assert len(closes) == 1
