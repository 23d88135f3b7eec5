"""Streams of turns that run in other processes: from the row, and over to this process and back."""

from __future__ import annotations

import threading

import pytest
from django.db.models import F
from django.utils import timezone
from fix_django_app import wait_until, wait_until_collected

from opencode_sessions.django import enqueue, signals, turn_for
from opencode_sessions.errors import TurnTakenError

SAID = "one two three four five six seven eight nine ten eleven twelve"
STORY = f"!say {SAID}"


def grows(browser, words):
    """A browser sees the first words come one after the other."""
    for number, word in enumerate(SAID.split()[:4], 1):
        words.up_to(number)
        browser.wait_for_text(word)


def test_a_turn_of_another_process_is_shown_from_the_row(pages, asgi, watch, elsewhere, words):
    message = pages.message(STORY)
    with watch(asgi, message) as browser:
        elsewhere(message)
        grows(browser, words)
        words.all()
        assert browser.end() == "completed"
    assert not any(state["live"] for state in browser.of("state"))
    growing = [part["html"] for part in browser.of("part")]
    assert len(growing) >= 3, "it did not grow"
    assert SAID not in growing[0]
    assert SAID in "".join(browser.shown().values())
    assert browser.last_id() == pages.row(message).revision


@pytest.mark.full
def test_the_revision_that_a_browser_has_is_told_with_each_part(pages, asgi, watch, elsewhere, words):
    message = pages.message(STORY)
    with watch(asgi, message) as browser:
        elsewhere(message)
        grows(browser, words)
        seen = browser.last_id()
        assert 0 < seen <= pages.row(message).revision
        shown = browser.shown()
    with watch(asgi, message, last=seen) as again:
        words.all()
        assert again.end() == "completed"
    assert list(again.shown()) == list(shown)
    assert SAID in "".join(again.shown().values())


def test_a_turn_whose_worker_dies_goes_on_here(pages, asgi, watch, elsewhere, words):
    message = pages.message(STORY, lease=1.5)
    taken_up = threading.Event()

    def receive(recovered, **_):
        taken_up.set()

    signals.turn_started.connect(receive, dispatch_uid=__name__)
    try:
        with watch(asgi, message) as browser:
            worker = elsewhere(message)
            words.up_to(1)
            browser.wait_for_text("one")
            worker.kill()
            wait_until(lambda: pages.Message.objects.abandoned().filter(pk=message.pk))
            enqueue(pages.row(message))
            assert taken_up.wait(60)
            words.up_to(2)
            browser.wait(lambda reader: any(state["live"] for state in reader.of("state")))
            words.all()
            assert browser.end() == "completed"
    finally:
        signals.turn_started.disconnect(dispatch_uid=__name__)
    assert [state["live"] for state in browser.of("state")][-2:] == [True, False]
    assert SAID in "".join(browser.shown().values())
    pages_shown = ["".join(browser.shown(number).values()) for number in range(len(browser.events) + 1)]
    first = next(number for number, html in enumerate(pages_shown) if "one" in html)
    assert all("one" in html for html in pages_shown[first:]), "the page lost what it had shown"


@pytest.mark.full
def test_a_turn_that_is_taken_from_this_process_goes_on_from_the_row(pages, asgi, watch, elsewhere, words):
    message = pages.message(STORY)
    lost = threading.Event()

    def run_here():
        try:
            turn_for(pages.row(message)).run()
        except TurnTakenError:
            lost.set()

    runner = threading.Thread(target=run_here)
    runner.start()
    with watch(asgi, message) as browser:
        words.up_to(1)
        browser.wait(lambda reader: any(state["live"] for state in reader.of("state")))
        rows = pages.Message.objects.filter(pk=message.pk)
        rows.update(opencode_turn_lease=timezone.now(), opencode_turn_epoch=F("opencode_turn_epoch") + 1)
        pages.Conversation.objects.update(opencode_turn=None)  # as if this process had hung for as long
        words.up_to(2)  # which it cannot store any more
        assert lost.wait(60)
        runner.join()
        wait_until_collected(lambda: _is_shown_from_the_row(browser))
        elsewhere(message)
        words.all()
        assert browser.end() == "completed"
    assert SAID in "".join(browser.shown().values())


def test_a_turn_that_is_cancelled_in_another_process_ends_here(pages, asgi, watch, elsewhere, words):
    message = pages.message(STORY)
    with watch(asgi, message) as browser:
        elsewhere(message)
        words.up_to(1)
        browser.wait_for_text("one")
        assert turn_for(pages.row(message)).cancel(by="ada")
        assert browser.end() == "cancelled"
    assert "ada" in browser.of("state")[-1]["error_html"]


def test_a_row_that_is_deleted_ends_the_stream(pages, asgi, watch):
    message = pages.message("hello")
    with watch(asgi, message) as browser:
        browser.first_state()
        message.delete()
        assert browser.end() == "gone"


def _is_shown_from_the_row(browser):
    return any(state["status"] == "streaming" and not state["live"] for state in browser.of("state"))
