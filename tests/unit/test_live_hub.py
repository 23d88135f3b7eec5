"""The hub without a framework: in threads, and in an event loop, where its rows suspend."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from reply_events import SESSION, assistant, delta, fold, part
from watched_rows import KEY, ROW, WatchedRows, text, until

from opencode_sessions import texts
from opencode_sessions.frontends.html import HtmlEncoder
from opencode_sessions.live import (
    LiveHub,
    LiveObserver,
    RenderContext,
    WatchRequest,
    astream,
    channel,
    ended,
    stream,
)
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.turns.events import ReplyChanged


def encoder(mark="html"):
    return HtmlEncoder(
        render_part=lambda part: f"<{mark}>{part.markdown}", render_ask=lambda ask, _: "", render_error=str
    )


HTML = encoder()


def request(row=ROW, **more):
    return WatchRequest(**{"key": KEY, "row": row, "context": RenderContext(), "encoder": HTML, **more})


class InThreads:
    """A hub in threads, and a stream of its rows."""

    def __init__(self):
        self.rows = WatchedRows()
        self.hub = LiveHub(self.rows, Threads())

    def run(self, main):
        asyncio.run(main(self))

    async def watch(self, told, **more):
        """Add to `told` what a stream says, until its end."""

        def read():
            for said in stream(self.hub, request(self.rows.rows[KEY], **more)):
                told.append(said.decode())

        await asyncio.to_thread(read)


class InTasks(InThreads):
    """The same in an event loop."""

    def __init__(self):
        self.rows = WatchedRows(suspends=True)
        self.hub = LiveHub(self.rows, Tasks())

    async def watch(self, told, **more):
        async for said in astream(self.hub, request(self.rows.rows[KEY], **more)):
            told.append(said.decode())


@pytest.fixture(params=[InThreads, InTasks])
def place(request):
    return request.param()


def test_a_turn_is_shown_from_its_row_to_its_end(place):
    told = []

    async def main(place):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(told))
            await until(lambda: "event: state" in "".join(told))
            place.rows.write(status="streaming", parts=[text("half")])
            await until(lambda: "half" in "".join(told))
            place.rows.write(status="completed", parts=[text("half and the rest")])

    place.run(main)
    assert told[0].startswith("retry:")
    assert "half and the rest" in told[-1]
    assert told[-1].endswith('event: end\ndata: {"status": "completed"}\n\n')
    assert not place.hub._channels


def test_a_turn_that_runs_here_is_shown_as_it_grows(place):
    told, reply = [], Reply(SESSION, "msg_prompt")
    observer = LiveObserver(place.hub, KEY)

    def grow(*events):
        for change in fold(reply, *events):
            observer(ReplyChanged(change, reply))

    async def main(place):
        place.rows.write(status="streaming")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(told))
            await until(lambda: "event: state" in "".join(told))
            grow(assistant(), part("p1", text="one"))
            await until(lambda: "one" in "".join(told))
            grow(delta("p1", " two"))
            await until(lambda: "one two" in "".join(told))
            place.rows.write(status="completed", parts=[text("one two three", "p1")])
            place.hub.finished(KEY)

    place.run(main)
    assert '"live": true' in "".join(told)
    assert "one two three" in told[-1]


def test_a_turn_that_begins_to_grow_while_its_row_is_rendered_is_shown_as_it_grows(place):
    told, reply, parts = [], Reply(SESSION, "msg_prompt"), []

    def render_part(shown):
        if not parts:
            parts.append(shown)
            for change in fold(reply, assistant(), part("p1", text="one")):
                place.hub.changed(KEY, reply, change)
        return shown.markdown

    encoding = HtmlEncoder(render_part=render_part, render_ask=lambda ask, _: "", render_error=str)

    async def main(place):
        place.rows.write(status="streaming", parts=[text("half")])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(told, encoder=encoding))
            await until(lambda: "one" in "".join(told))
            place.rows.write(status="completed", parts=[text("one", "p1")])
            place.hub.finished(KEY)

    place.run(main)


def test_page_newer_than_its_channel_gets_no_older_text_and_the_row_is_read_at_once(place):
    told, later = [], []

    async def main(place):
        place.rows.write(status="streaming", parts=[text("half")])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(told))
            await until(lambda: "half" in "".join(told))
            place.hub._channels[KEY][""]._look_at = time.monotonic() + 3600  # nothing has changed for long
            place.rows.write(parts=[text("half and more")])
            tasks.create_task(place.watch(later, has=place.rows.rows[KEY].revision))
            await until(lambda: "half" in "".join(later))
            assert "half and more" in next(said for said in later if "half" in said)
            place.rows.write(status="completed")
            place.hub.finished(KEY)

    place.run(main)


OLD = replace(ROW, status="streaming", revision=1, parts=[text("half")])
NEW = replace(OLD, revision=2, parts=[text("half and more")])


@pytest.mark.parametrize(
    ("row", "has", "says"),
    [
        (NEW, 2, ["", "half and more"]),  # its page shows what was read for it
        (OLD, 999_999, ["half", "half and more"]),  # invented: nobody has read that
        (NEW, 999_999, ["", "half and more"]),
        (OLD, None, ["half", "half and more"]),
    ],
)
def test_viewer_is_silent_until_the_view_has_the_revision_that_was_read_for_it(row, has, says, monkeypatch):
    monkeypatch.setattr(channel, "_CATCH_UP", 0.0)
    watched = channel.Channel(KEY, OLD, RenderContext())
    viewer = channel.Viewer(watched, request(row, has=has), lambda: None, float("inf"))
    watched.viewers.add(viewer)
    for now, said in zip((OLD, NEW), says, strict=True):
        watched.begin(float("inf"))
        watched.show(watched.render(set(), now))
        news = viewer.news().decode()
        assert (f"<html>{said}" in news) if said else not news


def test_two_protocols_share_one_look_and_each_renders_once(place):
    other, rendered = encoder("other"), []
    plain = other.render_part
    other.render_part = lambda part: rendered.append(part.markdown) or plain(part)
    first, *others = [], [], [], []

    async def main(place):
        place.rows.write(status="streaming", parts=[text("half")])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(first))
            await until(lambda: "<html>half" in "".join(first))
            for told in others:
                tasks.create_task(place.watch(told, encoder=other))
            await until(lambda: all("<other>half" in "".join(told) for told in others))
            place.rows.write(status="completed", parts=[text("half and the rest")])

    place.run(main)
    assert rendered == ["half", "half and the rest"]
    assert all("<other>half and the rest" in told[-1] for told in others)
    assert "<html>half and the rest" in first[-1]


def test_who_comes_with_another_protocol_at_the_very_end_is_told_all_of_it(place):
    other, told, late = encoder("other"), [], []

    async def main(place):
        place.rows.write(status="streaming", parts=[text("half")])
        row = place.rows.rows[KEY]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(told))
            await until(lambda: "half" in "".join(told))
            place.rows.write(status="completed", parts=[text("whole")])
            while "event: end" not in "".join(told):
                woken = threading.Event()
                viewer = place.hub.watch(request(row, encoder=other), woken.set)
                await asyncio.sleep(0.01)
                late.append((viewer, place.hub))
            for viewer, hub in late:
                said = []
                await until(lambda said=said, viewer=viewer, hub=hub: _end(hub, viewer, said))
                assert "<other>whole" in b"".join(said).decode()
                hub.leave(viewer)

    place.run(main)


def _end(hub, viewer, said):
    news, over = hub.news(viewer)
    said.append(news)
    return over


def test_a_row_that_is_deleted_ends_the_stream(place):
    told = []

    async def main(place):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(told))
            await until(lambda: "event: state" in "".join(told))
            place.rows.rows = {}
            place.hub.row_changed(KEY)
            await until(lambda: '"gone"' in "".join(told))
            place.rows.rows = {KEY: ROW}

    place.run(main)


def test_when_the_process_is_told_to_end_its_streams_end(place):
    told = []

    async def main(place):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(place.watch(told))
            await until(lambda: "event: state" in "".join(told))
            place.hub.end()

    place.run(main)
    assert told[-1].endswith("event: again\ndata: {}\n\n")


def test_a_hub_serves_the_next_event_loop_too():
    place = InTasks()
    for number in range(2):
        told = []

        async def main(place, told=told):
            watching = asyncio.create_task(place.watch(told))
            await until(lambda: "event: state" in "".join(told))
            watching.cancel()

        place.run(main)
        assert told, number
        gc.collect()  # the generator that was left
        assert not place.hub._channels


FORKING = """
import os, sys
from test_live_hub import InThreads, request
place = InThreads()
viewer = place.hub.watch(request(), lambda: None)
place.hub._lock.acquire()  # as another thread might hold it at the fork
child = os.fork()
if child == 0:
    place.rows.write(status="completed")
    said = []
    from opencode_sessions.live import stream
    for each in stream(place.hub, request()):
        said.append(each)
    sys.exit(0 if b"completed" in said[-1] else 1)
_, status = os.waitpid(child, 0)
place.hub._lock.release()
place.hub.leave(viewer)
print(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_has_a_hub_that_is_as_new():
    paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1] / "fixtures")))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_turn_that_has_ended_is_told_without_a_hub():
    row = WatchedRows()
    row.write(status="completed", parts=[text("all of it")])
    frames = b"".join(ended(request(row.rows[KEY]))).decode()
    assert "all of it" in frames
    assert b"all of it" not in b"".join(ended(request(row.rows[KEY], has=1)))


def test_a_turn_is_rendered_once_for_each_language_in_which_it_is_watched(place, monkeypatch):
    monkeypatch.setattr(texts, "_source", texts.CATALOGUES)  # not Django's, of a test that ran before
    rendered = []

    def render(part):
        rendered.append(texts.language())
        return f"<b>{texts.text('Refuse')} {part.markdown}"

    html = HtmlEncoder(render_part=render, render_ask=lambda ask, _: "", render_error=str)
    german, english, other = [], [], []

    async def main(place):
        place.rows.write(status="streaming", parts=[text("half")])
        async with asyncio.TaskGroup() as tasks:
            for told, language in ((german, "de"), (english, "en"), (other, "de")):
                tasks.create_task(place.watch(told, encoder=html, context=RenderContext(language=language)))
            await until(lambda: all("half" in "".join(told) for told in (german, english, other)))
            place.rows.write(status="completed", parts=[text("whole")])

    place.run(main)
    assert "<b>Ablehnen whole" in german[-1]
    assert "<b>Ablehnen whole" in other[-1]
    assert "<b>Refuse whole" in english[-1]
    assert sorted(rendered) == ["de", "de", "en", "en"]
    assert not place.hub._channels


def test_files_of_a_turn_are_told_in_the_language_of_its_watcher(place):
    spoken = []

    async def made():
        spoken.append(texts.language())
        return [{"name": "plan.md"}]

    async def main(place):
        place.rows.write(status="completed", parts=[text("all of it")])
        await place.watch([], made=made, context=RenderContext(language="de"))

    place.run(main)
    assert spoken == ["de"]


def test_an_ended_turn_is_rendered_beside_the_event_loop_or_in_the_thread_that_reads_the_stream():
    threads = []

    def render(part):
        threads.append(threading.current_thread())
        return part.markdown

    told = HtmlEncoder(render_part=render, render_ask=lambda ask, _: "", render_error=str)
    row = replace(ROW, status="completed", parts=[text("all of it")])

    async def read(hub):
        return b"".join([said async for said in astream(hub, request(row, encoder=told))])

    suspending, blocking = InTasks(), InThreads()
    assert b"all of it" in asyncio.run(read(suspending.hub))
    assert threading.main_thread() not in threads
    threads.clear()
    assert b"all of it" in b"".join(stream(blocking.hub, request(row, encoder=told)))
    assert {*threads} == {threading.main_thread()}
