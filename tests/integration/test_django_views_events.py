"""The view of events: who may see them, from where they go on, and what they hold meanwhile."""

from __future__ import annotations

import http.client
import time
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from fix_django_app import connections_of_others, wait_until

from opencode_sessions.django import enqueue
from opencode_sessions.django.live_hub import hub, rows
from opencode_sessions.live import channel

SAID = "one two three four five six seven eight nine ten"
STORY = f"!say {SAID}"
OWNER = {"X-Who": "owner"}


@pytest.fixture(params=["asgi", "wsgi"])
def address(request):
    """Of a server of each kind."""
    return request.getfixturevalue(request.param)


def test_an_answer_comes_while_it_grows(pages, address, watch, words):
    message = pages.message(STORY)
    with watch(address, message) as browser:
        browser.first_state()
        enqueue(message)
        for number, word in enumerate(SAID.split()[:4], 1):
            words.up_to(number)
            browser.wait_for_text(word)
        words.all()
        assert browser.end() == "completed"
    assert len(browser.of("part")) >= 3
    assert SAID in "".join(browser.shown().values())


def test_it_is_not_kept_by_caches_proxies_or_compression(pages, address, watch):
    with watch(address, pages.message("hello")) as browser:
        headers = browser.response.headers
        browser.first_state()
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Content-Encoding"] == "identity"


def test_a_turn_that_has_ended_is_told_and_the_stream_closed(pages, address, watch):
    message = pages.message("hello")
    enqueue(message)
    row = pages.ended(message)
    with watch(address, message) as browser:
        assert browser.end() == "completed"
    assert [name for name, _, _ in browser.events] == ["state", "end"]
    with watch(address, message, last=row.revision) as again:
        assert again.end() == "completed"
    assert [name for name, _, _ in again.events] == ["end"]


def test_what_the_browser_has_is_not_sent_again(pages, address, watch):
    message = pages.message("hello")
    pages.Message.objects.filter(pk=message.pk).update(status="streaming", revision=4, content="so far")
    with watch(address, message, last=4) as browser:
        time.sleep(0.7)
        assert browser.events == []
        pages.Message.objects.filter(pk=message.pk).update(revision=5, content="so far, and further")
        state = browser.first_state()
        assert state["revision"] == browser.last_id() == 5
        assert "and further" in state["parts"][0]["html"]
    with watch(address, message, last=3) as behind:
        assert behind.first_state()["revision"] == 5


def test_what_a_browser_shows_gets_no_shorter_where_the_row_is_a_little_behind(
    pages, address, watch, monkeypatch
):
    """It was shown the answer live, by another process, which stores it four times a second."""
    monkeypatch.setattr(channel, "_CATCH_UP", 3600.0)  # until the test says so
    message = pages.message("hello")
    row = pages.Message.objects.filter(pk=message.pk)
    row.update(status="streaming", revision=4, content="one two")
    with watch(address, message, last=3) as browser:
        _wait_until_rendered(message, revision=4)
        assert browser.events == []
        row.update(revision=5, content="one two three four")
        _wait_until_rendered(message, revision=5)
        for viewer in _viewers(message):
            viewer._waits_until = 0.0
            viewer.wake()
        state = browser.first_state()
    assert (state["revision"], state["parts"][0]["html"].count("one two three four")) == (5, 1)


def test_who_may_not_see_a_turn_cannot_tell_it_from_none(pages, address):
    message = pages.message("hello")
    there = pages.events(message)
    refused = _get(address + there, {"X-Who": "stranger"})
    wrong = [
        there.replace(f"/{message.pk}/", "/999999/"),
        there.replace(f"/{message.pk}/", "/no-number/"),
        there.replace("chat.message", "chat.conversation"),
        there.replace("chat.message", "auth.user"),
        there.replace("chat.message", "nonsense"),
    ]
    for path in wrong:
        assert _get(address + path, OWNER) == refused
    assert refused[0] == 404


def test_by_default_nobody_may_see_anything(pages, web_settings):
    message = pages.message("hello")
    del web_settings["MAY_SEE"]
    with override_settings(OPENCODE=web_settings):
        assert Client().get(pages.events(message), headers=OWNER).status_code == 404


def test_a_coroutine_function_lets_nobody_in(pages, web_settings):
    async def may_see(request, message):
        return False

    message = pages.message("hello")
    with (
        override_settings(OPENCODE={**web_settings, "MAY_SEE": may_see}),
        pytest.raises(ImproperlyConfigured),
    ):
        Client().get(pages.events(message), headers=OWNER)


@pytest.mark.parametrize("name", ["answer", "cancel", "retry"])
def test_a_stranger_can_steer_nothing(pages, name):
    message = pages.message("hello")
    there = pages.address(name, message)
    refused = Client().post(there, headers={"X-Who": "stranger"})
    missing = Client().post(there.replace(f"/{message.pk}/", "/999999/"), headers=OWNER)
    assert refused.status_code == missing.status_code == 404
    assert refused.content == missing.content
    assert pages.row(message).status == "pending"


def test_under_wsgi_a_stream_ends_after_a_while_and_goes_on_where_it_was(
    pages, wsgi, watch, web_settings, words
):
    message = pages.message(STORY)

    def stream():
        with watch(wsgi, message, last=0) as browser:
            browser.wait(lambda reader: reader.over)
            return browser

    with override_settings(OPENCODE={**web_settings, "STREAM_SECONDS": 1.2}):
        enqueue(message)
        words.up_to(1)
        wait_until(lambda: pages.row(message).content)
        assert stream().of("end") == []
        words.all()
        browser = wait_until(lambda: browser if (browser := stream()).of("end") else None)
    assert browser.of("end")[0]["status"] == "completed"
    assert SAID in "".join(browser.shown().values())


def test_no_database_connection_is_held_while_a_turn_is_watched(
    pages, asgi, watch, postgres, django_databases
):
    with override_settings(DATABASE_ROUTERS=["web_project.policy.ToPostgres"]):
        message = pages.message("hello", using="postgres")
        browsers = [watch(asgi, message) for _ in range(5)]
        try:
            for browser in browsers:
                browser.first_state()
            _none_is_held()
            pages.Message.objects.using("postgres").filter(pk=message.pk).update(status="failed", revision=1)
            assert [browser.end() for browser in browsers] == ["failed"] * 5
        finally:
            for browser in browsers:
                browser.__exit__()


def test_none_is_held_where_middleware_queries_on_the_way_out(pages, postgres, saved_login, address):
    message = pages.message("hello", using="postgres")
    headers = {**OWNER, "Cookie": saved_login.cookie}
    with ExitStack() as stack:
        for _ in range(5):
            response = stack.enter_context(_stream(address + pages.events(message), headers))
            assert b"retry" in response.readline()
        assert saved_login.was_saved
        _none_is_held()


def test_all_who_watch_a_turn_share_one_look_at_its_row(pages, asgi, watch, monkeypatch):
    looks = []

    heads = rows.heads

    async def noted(keys):
        if keys[0].database == "default":  # a stream of an earlier test may still be open on the other one
            looks.append(time.monotonic())
        return await heads(keys)

    monkeypatch.setattr(rows, "heads", noted)
    messages = [pages.message("hello") for _ in range(2)]
    browsers = [watch(asgi, message) for message in messages for _ in range(4)]
    for browser in browsers:
        browser.first_state()
    looks.clear()
    wait_until(lambda: len(looks) >= 7)
    for browser in browsers:
        browser.__exit__()
    assert looks[6] - looks[0] > 1.2, "two turns, which eight browsers watch, every 0.3 s"
    keys = {str(message.pk) for message in messages}
    wait_until(lambda: not keys & {key.pk for key in hub._channels})


def _wait_until_rendered(message, *, revision):
    """Until the hub has read and rendered this revision of the row."""

    def rendered():
        views = [viewer.channel.feed.view for viewer in _viewers(message)]
        return [view for view in views if view is not None and view.revision == revision]

    wait_until(rendered)


def _viewers(message):
    found = [each for each in hub._all() if each.key.pk == str(message.pk)]
    return [viewer for each in found for viewer in list(each.viewers)]


def _get(url, headers):
    with _stream(url, headers) as response:
        return response.status, response.read()


@contextmanager
def _stream(url, headers):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", parts.path, headers=headers)
    line = connection.sock  # which the connection gives away to a response that ends with it
    with connection.getresponse() as response:
        yield response
        with suppress(OSError):
            line.shutdown(2)
    connection.close()


def _none_is_held():
    """But by the thread that looks at the rows, now and then, and by what is being closed."""
    wait_until(lambda: not connections_of_others())
    counts = []

    def look():
        time.sleep(0.05)
        counts.append(connections_of_others())
        return len(counts) >= 60 and counts.count(0) > 6

    wait_until(look)
    assert max(counts) < 5, "each stream has one"
