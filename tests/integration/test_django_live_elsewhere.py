"""Streams of turns that run in other processes: from the row, and over to this process and back."""

from __future__ import annotations

import threading

from django.db.models import F
from django.utils import timezone
from fix_django_app import wait_until

from opencode_sessions.django import enqueue, turn_for
from opencode_sessions.errors import TurnTakenError

SLOW = "!slow 0.2\n!say one two three four five six seven eight nine ten eleven twelve"
SAID = "one two three four five six seven eight nine ten eleven twelve"


def test_a_turn_of_another_process_is_shown_from_the_row(pages, asgi, watch, elsewhere):
    message = pages.message(SLOW)
    with watch(asgi, message) as browser:
        elsewhere(message)
        assert browser.end() == "completed"
    assert not any(state["live"] for state in browser.of("state"))
    growing = [part["html"] for part in browser.of("part")]
    assert len(growing) >= 3, "it did not grow"
    assert SAID not in growing[0]
    assert SAID in "".join(browser.shown().values())
    assert browser.last_id() == pages.row(message).revision


def test_the_revision_that_a_browser_has_is_told_with_each_part(pages, asgi, watch, elsewhere):
    message = pages.message(SLOW)
    with watch(asgi, message) as browser:
        elsewhere(message)
        browser.wait(lambda reader: len(reader.of("part")) > 2)
        seen = browser.last_id()
        assert 0 < seen <= pages.row(message).revision
        shown = browser.shown()
    with watch(asgi, message, last=seen) as again:
        assert again.end() == "completed"
    assert list(again.shown()) == list(shown)
    assert SAID in "".join(again.shown().values())


def test_a_turn_whose_worker_dies_goes_on_here(pages, asgi, watch, elsewhere):
    message = pages.message(SLOW, lease=1.5)
    with watch(asgi, message) as browser:
        worker = elsewhere(message)
        browser.wait(lambda reader: reader.of("part"))
        worker.kill()
        wait_until(lambda: pages.Message.objects.abandoned().filter(pk=message.pk))
        enqueue(pages.row(message))
        assert browser.end() == "completed"
    assert [state["live"] for state in browser.of("state")][-2:] == [True, False]
    assert SAID in "".join(browser.shown().values())


def test_a_turn_that_is_taken_from_this_process_goes_on_from_the_row(pages, asgi, watch, elsewhere):
    message = pages.message(SLOW)
    lost = threading.Event()

    def run_here():
        try:
            turn_for(pages.row(message)).run()
        except TurnTakenError:
            lost.set()

    runner = threading.Thread(target=run_here)
    runner.start()
    with watch(asgi, message) as browser:
        browser.wait(lambda reader: any(state["live"] for state in reader.of("state")))
        rows = pages.Message.objects.filter(pk=message.pk)
        rows.update(opencode_turn_lease=timezone.now(), opencode_turn_epoch=F("opencode_turn_epoch") + 1)
        pages.Conversation.objects.update(
            opencode_turn=None
        )  # as if this process had hung for a lease's time
        assert lost.wait(60)
        elsewhere(message)
        assert browser.end() == "completed"
    runner.join()
    assert SAID in "".join(browser.shown().values())
    states = browser.of("state")
    assert any(state["status"] == "streaming" and not state["live"] for state in states)


def test_a_turn_that_is_cancelled_in_another_process_ends_here(pages, asgi, watch, elsewhere):
    message = pages.message("!slow 0.5\n!say one two three four five six seven eight nine ten")
    with watch(asgi, message) as browser:
        elsewhere(message)
        browser.wait(lambda reader: reader.of("part"))
        assert turn_for(pages.row(message)).cancel(by="ada")
        assert browser.end() == "cancelled"
    assert "ada" in browser.of("state")[-1]["error_html"]


def test_a_row_that_is_deleted_ends_the_stream(pages, asgi, watch):
    message = pages.message("hello")
    with watch(asgi, message) as browser:
        browser.first_state()
        message.delete()
        assert browser.end() == "gone"
