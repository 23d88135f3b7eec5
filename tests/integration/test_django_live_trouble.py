"""Streams while something is wrong: a row, a database, a template or a thread."""

from __future__ import annotations

import threading

import pytest
from django.db.models import F
from django.db.models.expressions import RawSQL
from django.test import override_settings
from fix_django_app import wait_until

from opencode_sessions.django.html import render_part
from opencode_sessions.django.live_hub import HTML, hub, rows
from opencode_sessions.live import LiveHub, RenderContext, WatchRequest, channel
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.store.turn_table import TurnRow

HALF = [{"id": "prt_1", "message_id": "msg_1", "type": "text", "text": "half"}]
WHOLE = [{**HALF[0], "text": "half and the rest"}]


@pytest.fixture
def streaming(pages):
    """A turn that another process runs, as far as its row says."""
    message = pages.message("hello")
    _write(message, status="streaming", revision=4, parts=HALF)
    return pages.row(message)


@pytest.fixture
def browse(asgi, watch):
    """Call it for a browser that watches a message."""
    return lambda message, **more: watch(asgi, message, **more)


@pytest.fixture
def own_templates(pages):
    """Templates of the host's own, by name, which stand in the place of the app's."""
    found = {}
    loaders = [
        ("django.template.loaders.locmem.Loader", found),
        "django.template.loaders.app_directories.Loader",
    ]
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"loaders": loaders},
    }
    with override_settings(TEMPLATES=[engine]):
        yield found


@pytest.fixture
def broken_template(own_templates, monkeypatch):
    """Call it for texts that cannot be rendered from then on, until the function is called that it returns."""
    monkeypatch.setattr("opencode_sessions.live.hub._AFTER_TROUBLE", 0.1)

    def destroy():
        own_templates["opencode/parts/text.html"] = "{% extends 'there is no such template' %}"
        return own_templates.clear

    return destroy


@pytest.fixture
def in_step(monkeypatch):
    """All that are watched are always looked at together."""
    monkeypatch.setattr(channel, "_SELDOM", channel._OFTEN)


@pytest.mark.parametrize("status", ["streaming", "completed"])
def test_what_was_written_while_a_browser_came_is_news_to_it(
    streaming, browse, web_settings, monkeypatch, status
):
    def may_see(request, message):  # the row has been read by now
        return _write(message, status=status, revision=5, parts=WHOLE)

    monkeypatch.setattr(channel, "_OFTEN", 1e-6)  # so that it is looked at before anything is rendered
    with (
        override_settings(OPENCODE={**web_settings, "MAY_SEE": may_see}),
        browse(streaming, last=4) as browser,
    ):
        state = browser.first_state()
        assert (state["status"], state["revision"]) == (status, 5)
        assert "half and the rest" in state["parts"][0]["html"]


@pytest.mark.usefixtures("in_step")
def test_a_row_that_cannot_be_read_does_not_keep_other_turns_from_their_browsers(
    pages, streaming, browse, caplog
):
    damaged = pages.message("hello")
    with browse(streaming) as browser, browse(damaged) as other:
        browser.first_state(), other.first_state()
        not_utf8 = RawSQL("CAST(x'ff' AS TEXT)", ())
        _write(damaged, content=not_utf8, revision=F("revision") + 1)
        wait_until(lambda: "UTF-8" in caplog.text)
        _write(streaming, status="completed", revision=5, parts=WHOLE)
        assert browser.end() == "completed"
        assert not other.over
        _write(damaged, content="whole again", status="completed", revision=F("revision") + 1)
        assert other.end() == "completed"


@pytest.mark.usefixtures("in_step")
def test_a_database_that_cannot_be_read_does_not_keep_other_turns_from_their_browsers(
    pages, streaming, browse, bare_database, caplog
):
    unreadable = pages.row(streaming)
    unreadable._state.db = bare_database
    with browse(streaming) as browser:
        browser.first_state()
        other = hub.watch(_request(unreadable), lambda: None)
        try:
            wait_until(lambda: "no such table" in caplog.text)
            _write(streaming, status="completed", revision=5, parts=WHOLE)
            assert browser.end() == "completed"
        finally:
            hub.leave(other)


def test_an_end_that_cannot_be_rendered_is_told(streaming, browse, broken_template):
    with browse(streaming) as browser:
        browser.first_state()
        broken_template()
        _write(streaming, status="completed", revision=5, parts=WHOLE)
        assert browser.end() == "completed"
    assert len(browser.of("state")) == 1


def test_an_end_that_can_be_rendered_a_little_later_is_shown(
    streaming, browse, broken_template, caplog, monkeypatch
):
    monkeypatch.setattr(channel, "_TRIES", 1_000)
    with browse(streaming) as browser:
        browser.first_state()
        mend = broken_template()
        _write(streaming, status="completed", revision=5, parts=WHOLE)
        wait_until(lambda: "there is no such template" in caplog.text)
        mend()
        assert browser.end() == "completed"
    assert "half and the rest" in browser.of("state")[-1]["parts"][0]["html"]


def test_a_thread_that_could_not_start_is_started_for_the_next_browser(streaming, monkeypatch):
    def no_more(thread):
        raise RuntimeError("can't start new thread")

    fresh, woken = LiveHub(rows, Threads()), threading.Event()
    shown = _request(streaming)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError):
            fresh.watch(shown, woken.set)
    assert not fresh._channels, "nobody would leave it"
    viewer = fresh.watch(shown, woken.set)
    assert woken.wait(60)
    said, _ = fresh.news(viewer)
    assert b"half" in said
    fresh.leave(viewer)


def test_a_turn_that_takes_long_to_render_does_not_hold_up_another(pages, streaming, browse, monkeypatch):
    go_on, held = threading.Event(), threading.Event()

    def held_up(part):
        if getattr(part, "markdown", "") == "slow":
            held.set()
            assert go_on.wait(60)
        return render_part(part)

    monkeypatch.setattr(HTML, "render_part", held_up)
    slow = pages.message("hello")
    _write(slow, status="streaming", revision=4, parts=[{**HALF[0], "text": "slow"}])
    with browse(slow) as waits, browse(streaming) as browser:
        assert held.wait(60)
        browser.first_state()
        _write(streaming, status="completed", revision=5, parts=WHOLE)
        assert browser.end() == "completed"
        assert not waits.of("state")
        go_on.set()
        assert "slow" in waits.first_state()["parts"][0]["html"]


def _request(message):
    return WatchRequest(
        key=rows.key_of(message), row=TurnRow.of(message), context=RenderContext("/"), encoder=HTML
    )


def _write(message, **columns):
    return type(message).objects.filter(pk=message.pk).update(**columns)
