"""Django's streams of turns that run in other processes, which notify this one."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from fix_django_app import wait_until

from opencode_sessions.django import live_hub
from opencode_sessions.django.conf import settings
from opencode_sessions.django.relay import relay
from opencode_sessions.django.turn_rows import DjangoTurnRows
from opencode_sessions.live.notifiers import PostgresNotifier, ValkeyNotifier

SAID = "one two three four five six seven eight nine ten eleven twelve"


@pytest.fixture
def looks(monkeypatch):
    """How often this process has looked at rows."""
    made, heads = [], DjangoTurnRows.heads
    monkeypatch.setattr(DjangoTurnRows, "heads", lambda rows, keys: made.append(1) or heads(rows, keys))
    return made


@pytest.fixture(autouse=True)
def nothing_left(pages, web_settings):
    """No relay goes on after a test."""
    yield
    web_settings.pop("NOTIFIER", None)
    relay()


def test_a_turn_of_another_process_is_shown_as_it_grows(  # noqa: PLR0917 - fixtures
    pages, asgi, watch, elsewhere, words, looks, valkey, web_settings
):
    web_settings["NOTIFIER"] = valkey()
    with pages.configured(web_settings):
        message = pages.message(f"!say {SAID}")
        with watch(asgi, message) as browser:
            browser.first_state()
            wait_until(lambda: [each for each in live_hub.hub._all() if each._notes_come])
            elsewhere(message)
            words.up_to(1)
            browser.wait_for_text("one")
            before = len(looks)
            for number, word in enumerate(SAID.split()[1:8], 2):
                words.up_to(number)
                browser.wait_for_text(word)
            assert len(looks) - before <= 4  # it looks every 15 s, and at notes that came in no good order
            words.all()
            assert browser.end() == "completed"
        assert SAID in "".join(browser.shown().values())
        assert not any(state["live"] for state in browser.of("state"))


def test_the_setting_is_a_url_or_a_notifier(pages, web_settings):
    for given, kind in (
        ("redis://localhost", ValkeyNotifier),
        ("postgresql://localhost/db", PostgresNotifier),
    ):
        with pages.configured({**web_settings, "NOTIFIER": given}):
            assert type(settings().notifier) is kind
            assert relay() is relay()
    with pages.configured({**web_settings, "NOTIFIER": ValkeyNotifier("redis://localhost", prefix="shop")}):
        assert settings().notifier.prefix == "shop"
    with pages.configured({**web_settings, "NOTIFIER": ""}):
        assert settings().notifier is None


@pytest.mark.parametrize(
    "given", ["http://localhost", "redis://localhost:port", 5, "opencode_sessions.READ_ONLY"]
)
def test_a_setting_that_is_none_is_named(pages, web_settings, given):
    with (
        pages.configured({**web_settings, "NOTIFIER": given}),
        pytest.raises(ImproperlyConfigured, match="NOTIFIER"),
    ):
        settings()
