"""A stream that is open when its user is logged out, or may see the turn no more, ends soon after."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.signals import user_logged_out
from django.db.backends.utils import CursorWrapper
from selection import sample

from opencode_sessions.django.live_hub import hub, rows

SECONDS = 0.8
AT_ONCE = 8
"""Seconds, on a machine that is busy. A stream that is not ended lasts for 45, at least."""


@pytest.fixture(params=["asgi", "wsgi"])
def address(request):
    """Of a server of each kind."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def message(pages):
    """A turn that waits for a runner."""
    return pages.message("hello")


@pytest.fixture
def browse(watch, message):
    """Call it for a browser that watches that turn: `browse(address, cookie)`."""
    return lambda address, cookie, **more: watch(address, message, cookie=cookie, **more)


@pytest.fixture
def watched(people, address, browse):
    """Use it with `with`: somebody else watches too, so what a short stream shows is rendered before it begins."""

    @contextmanager
    def watch_too():
        _, cookie = people.log_in()
        with browse(address, cookie) as browser:
            browser.first_state()
            yield

    return watch_too


def is_refused(browser):
    with browser:
        return browser.status == 404


def leave(address, cookie):
    """Log out in a browser."""
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", "/leave", headers={"Cookie": cookie})
    assert connection.getresponse().status == 204
    connection.close()


def log_out_elsewhere(people, user):
    from django.contrib.sessions.models import Session  # noqa: PLC0415 - not before Django is configured

    Session.objects.all().delete()


def deactivate(people, user):
    type(user).objects.filter(pk=user.pk).update(is_active=False)


def change_the_password(people, user):
    user.set_password("new")
    user.save()


def delete_the_user(people, user):
    user.delete()


def take_the_right(people, user):
    people.may_see.remove(user.pk)


@pytest.mark.parametrize(
    "revoke",
    sample(
        [log_out_elsewhere, deactivate, change_the_password, delete_the_user, take_the_right], take_the_right
    ),
)
def test_a_stream_ends_within_its_seconds_and_the_next_one_is_refused(
    people, address, browse, watched, revoke
):
    user, cookie = people.log_in()
    with watched(), people.streams_last(SECONDS), browse(address, cookie) as browser:
        browser.first_state()
        revoke(people, user)
        browser.wait(lambda reader: reader.over, AT_ONCE)
        assert browser.of("again") == [{}]
        assert browser.of("end") == []
    assert is_refused(browse(address, cookie))


def test_a_stream_of_a_user_who_still_may_see_it_goes_on_in_the_next_one(
    people, address, browse, watched, message
):
    _, cookie = people.log_in()
    type(message).objects.filter(pk=message.pk).update(revision=4)
    with watched(), people.streams_last(SECONDS):
        for last, states in ((None, 1), (4, 0), (4, 0)):
            with browse(address, cookie, last=last) as browser:
                browser.wait(lambda reader: reader.over, AT_ONCE)
            assert browser.of("again") == [{}]
            assert len(browser.of("state")) == states, "what the browser has is not sent again"


def test_all_streams_of_a_user_who_logs_out_end_at_once(people, address, browse):
    user, cookie = people.log_in()
    phone = people.cookie_of(user)
    _, other = people.log_in()
    with ExitStack() as stack:
        laptops, phones, others = (
            [stack.enter_context(browse(address, each)) for _ in range(2)] for each in (cookie, phone, other)
        )
        for browser in (*laptops, *phones, *others):
            browser.first_state()
        leave(address, cookie)
        for browser in (*laptops, *phones):
            browser.wait(lambda reader: reader.over, AT_ONCE)
            assert browser.of("again") == [{}]
        assert not any(browser.over for browser in others)
    assert is_refused(browse(address, cookie))
    assert not is_refused(browse(address, phone)), "that login stands"


def test_a_browser_that_is_back_before_the_logout_is_done_is_not_let_in_for_long(
    people, address, browse, watched
):
    _, cookie = people.log_in()
    back = []

    def told_first(**_):
        """Django ends the login after all receivers have returned."""
        first.wait(lambda reader: reader.over, AT_ONCE)
        back.append(browse(address, cookie))
        back[0].first_state()

    user_logged_out.connect(told_first)
    try:
        with watched(), browse(address, cookie) as first:
            first.first_state()
            leave(address, cookie)
        with back[0] as browser:
            browser.wait(lambda reader: reader.over, AT_ONCE)
            assert browser.of("again") == [{}]
    finally:
        user_logged_out.disconnect(told_first)
    assert is_refused(browse(address, cookie))


def test_a_logout_of_nobody_ends_nothing(people, asgi, browse):
    _, cookie = people.log_in()
    with browse(asgi, cookie) as browser:
        browser.first_state()
        leave(asgi, "sessionid=none")
        time.sleep(0.5)
        assert not browser.over


def test_streams_that_begin_together_end_one_after_another_each_within_its_seconds(
    people, asgi, browse, message
):
    _, cookie = people.log_in()
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(browse(asgi, cookie)).first_state()
        (channel,) = hub._channels[rows.key_of(message)].values()
        left = sorted(viewer.until - time.monotonic() for viewer in channel.viewers)
    assert len(left) == 8
    assert 30 < left[0] < left[-1] <= 60
    assert left[-1] - left[0] > 1


def test_to_check_a_stream_costs_a_few_queries_whoever_else_watches(people, asgi, browse, monkeypatch):
    _, cookie = people.log_in()
    queries, execute = [], CursorWrapper.execute

    def counted(cursor, sql, params=None):
        queries.append(sql)
        return execute(cursor, sql, params)

    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(browse(asgi, cookie)).first_state()
        monkeypatch.setattr(CursorWrapper, "execute", counted)
        stack.enter_context(browse(asgi, cookie)).first_state()
        monkeypatch.undo()
    tables = ("django_session", "auth_user", "chat_message", "chat_conversation")
    assert {
        table: sum(f'FROM "{table}"' in sql and "IN (" not in sql for sql in queries) for table in tables
    } == {
        "django_session": 1,
        "auth_user": 1,
        "chat_message": 1,
        "chat_conversation": 1,
    }
