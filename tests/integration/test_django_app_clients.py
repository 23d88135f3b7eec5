"""The clients that a process shares."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading

import pytest
from asgiref.sync import async_to_sync
from fix_django_app import wait_until

from opencode_sessions.django import async_client, client
from opencode_sessions.django.clients import _shared


def test_all_threads_share_one(chat):
    found = []
    threads = [threading.Thread(target=lambda: found.append(client())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert found[0].health().version


def test_it_is_made_anew_when_what_it_is_made_from_changes(chat, opencode):
    first = client()
    with chat.configured(opencode, RUNNER="inline"):
        assert client() is first
    with chat.configured(opencode, DIRECTORY="/srv"):
        assert client() is not first
        assert client().directory == "/srv"
    assert first._core._transport.closed
    assert client().health().version


def test_it_goes_where_the_settings_say(chat, opencode):
    assert client().address.base_url == opencode["SERVER"]
    assert client().address.password == opencode["PASSWORD"]


def test_an_event_loop_has_one_which_ends_with_it(chat):
    async def use():
        mine = async_client()
        assert async_client() is mine
        assert (await mine.health()).version
        return mine

    first, second = asyncio.run(use()), asyncio.run(use())
    assert first is not second
    assert first._transport.closed
    assert second._transport.closed
    gc.collect()
    assert len(_shared.of_loops) == 0


def test_a_view_under_wsgi_whose_loop_is_short_leaves_nothing_open(chat):
    async def view():
        return async_client(), await async_client().health()

    used, health = async_to_sync(view)()
    assert health.version
    assert used._transport.closed


def test_in_a_loop_it_is_made_anew_too(chat, opencode):
    async def use():
        first = async_client()
        await first.health()
        with chat.configured(opencode, DIRECTORY="/srv"):
            second = async_client()
            assert second.directory == "/srv"
            await asyncio.to_thread(wait_until, lambda: first._transport.closed)

    asyncio.run(use())


def test_of_loops_that_were_closed_with_nothing_more_the_next_one_forgets_the_clients(chat):
    async def use():
        return async_client()

    loops = [asyncio.new_event_loop() for _ in range(3)]
    for loop in loops:
        loop.run_until_complete(use())
        loop.close()
        assert list(_shared.of_loops) == [loop]
    asyncio.run(use())
    assert not _shared.of_loops


def test_without_an_event_loop_there_is_no_async_one(chat):
    with pytest.raises(RuntimeError, match="no running event loop"):
        async_client()


FORKING = """
import os, sys
from django.conf import settings
settings.configure(OPENCODE={"SERVER": sys.argv[1], "PASSWORD": sys.argv[2]})
from opencode_sessions.django import client
def works():
    return bool(client().health().version)
with client().subscribe():  # a thread of its own, and a lock, that the child does not have
    pass
assert works()
from opencode_sessions.django.clients import _shared
with _shared.lock:  # as another thread might hold it at the fork
    child = os.fork()
if child == 0:
    sys.exit(0 if works() else 1)
_, status = os.waitpid(child, 0)
assert works()
print(os.waitstatus_to_exitcode(status))
"""


def test_it_works_in_a_forked_child_and_its_parent_and_both_end_quietly(server):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            FORKING,
            server.url,
            server.password,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
