"""Streams of turns that run in this process: what browsers are shown, over real sockets."""

from __future__ import annotations

from fix_django_app import wait_until, wait_until_collected
from json_client import JsonClient

from opencode_sessions.django import enqueue
from opencode_sessions.django.live_hub import hub, rows
from opencode_sessions.frontends.display_json import JSON
from opencode_sessions.live import RenderContext, WatchRequest, channel, stream
from opencode_sessions.store.turn_table import TurnRow

SAID = "one two three four five six seven eight nine ten"
STORY = f"!say {SAID}"


def test_an_answer_comes_while_it_grows_and_ends_as_the_row_has_it(pages, asgi, watch, words):
    message = pages.message(STORY)
    with watch(asgi, message) as browser:
        assert browser.first_state()["status"] == "pending"
        enqueue(message)
        for number, word in enumerate(SAID.split()[:4], 1):
            words.up_to(number)
            browser.wait_for_text(word)
        words.all()
        assert browser.end() == "completed"
    row = pages.ended(message)
    last = browser.of("state")[-1]
    assert last["status"] == "completed"
    assert browser.last_id() == last["revision"] == row.revision
    assert last["content_length"] == len(SAID)
    assert SAID in "".join(browser.shown().values())
    assert any(state["live"] for state in browser.of("state"))
    growing = [part["html"] for part in browser.of("part")]
    assert len(growing) >= 3
    assert "one" in growing[0]
    assert SAID not in growing[0]


def test_who_comes_in_the_middle_gets_what_was_said_and_then_the_rest(pages, asgi, watch, words):
    message = pages.message(STORY)
    enqueue(message)
    words.up_to(3)
    wait_until(lambda: "three" in pages.row(message).content)
    with watch(asgi, message) as browser:
        first = browser.first_state()
        assert (first["status"], first["live"]) == ("streaming", True)
        assert "three" in first["parts"][-1]["html"]
        words.all()
        assert browser.end() == "completed"
    assert SAID in "".join(browser.shown().values())


def test_an_answer_that_begins_while_its_first_browser_comes_is_shown_live(
    pages, asgi, watch, words, monkeypatch
):
    message = pages.message(STORY)

    def late(*arguments):
        made = channel.Channel(*arguments)
        words.up_to(1)
        wait_until(lambda: any("one" in reply.text for reply in list(hub._running.values())))
        return made

    monkeypatch.setattr("opencode_sessions.live.hub.Channel", late)
    enqueue(message)
    with watch(asgi, message) as browser:
        browser.wait(lambda reader: any(state["live"] for state in reader.of("state")))
        words.all()
        assert browser.end() == "completed"


def test_all_who_watch_see_the_same(pages, asgi, watch):
    message = pages.message(STORY)
    with watch(asgi, message) as one, watch(asgi, message) as two:
        one.first_state(), two.first_state()
        enqueue(message)
        assert one.end() == two.end() == "completed"
    assert one.shown() == two.shown()


def test_a_turn_with_tools_thoughts_and_a_todo_list_is_shown_as_the_row_is_in_the_end(pages, asgi, watch):
    todos = '{"todos": [{"content": "Read it", "status": "in_progress", "priority": "high", "id": "1"}]}'
    prompt = (
        '!reason Let me look.\n!say First I look.\n!tool bash {"command": "seq 3", "description": "Count"}\n'
        f"!tool todowrite {todos}\n!say Done."
    )
    message = pages.message(prompt)
    with watch(asgi, message) as browser:
        browser.first_state()
        enqueue(message)
        assert browser.end() == "completed"
    shown = browser.shown()
    with watch(asgi, message) as later:
        assert later.end() == "completed"
    assert shown == later.shown()
    html = "".join(shown.values())
    assert "seq 3" in html
    assert "Read it" in html
    assert len(later.of("state")) == 1


def test_a_browser_that_goes_does_not_stop_the_turn(pages, asgi, watch, words):
    message = pages.message(STORY)
    with watch(asgi, message) as browser:
        enqueue(message)
        words.up_to(1)
        browser.wait_for_text("one")
    words.all()
    row = pages.ended(message)
    assert (row.status, row.content) == ("completed", SAID)


def test_nothing_is_kept_of_a_turn_when_nobody_watches(pages, asgi, watch, words):
    message = pages.message(STORY)
    with watch(asgi, message) as browser:
        enqueue(message)
        words.up_to(1)
        browser.wait_for_text("one")
        assert str(message.pk) in _keys(hub._channels)
    wait_until(lambda: str(message.pk) not in _keys(hub._channels))
    assert pages.row(message).status == "streaming"
    words.all()
    pages.ended(message)
    wait_until(lambda: str(message.pk) not in _keys(hub._running))


def test_a_row_that_is_deleted_while_its_turn_runs_ends_the_stream(pages, asgi, watch, monkeypatch):
    monkeypatch.setattr(channel, "_SELDOM", 5.0)  # so that its runner is gone before the row is looked at
    message = pages.message("!slow 0.1\n!say " + " ".join(map(str, range(300))))
    with watch(asgi, message) as browser:
        enqueue(message)
        browser.wait(lambda reader: reader.of("part"))
        pages.row(message).delete()
        wait_until_collected(lambda: str(message.pk) not in _keys(hub._running))
        assert browser.end() == "gone"


def test_what_fails_says_why(pages, asgi, watch):
    message = pages.message("!error 400 the model is on strike")
    with watch(asgi, message) as browser:
        enqueue(message)
        assert browser.end() == "failed"
    assert "the model is on strike" in browser.of("state")[-1]["error_html"]


def test_what_is_asked_is_shown_once_the_row_can_take_the_answer(pages, asgi, watch):
    message = pages.message(
        '!tool question {"questions": [{"question": "Which?", "header": "Way", "options": []}]}'
    )
    with watch(asgi, message) as browser:
        enqueue(message)
        browser.wait(lambda reader: reader.asks())
        assert [ask["id"] for ask in pages.row(message).asks] == browser.asks()
        (html,) = browser.asks_html().values()
        assert pages.address("answer", message) in html
        pages.cancel(message)
        assert browser.end() == "cancelled"
    assert browser.asks() == []


def test_a_turn_is_told_as_json_too_and_goes_on_where_it_was_left(pages, words):
    message, client = pages.message(STORY), JsonClient()

    def read(until):
        row = pages.row(message)
        request = WatchRequest(
            key=rows.key_of(row),
            row=TurnRow.of(row),
            context=RenderContext(),
            encoder=JSON,
            has=client.last_id,
        )
        for said in stream(hub, request):
            client.take(said)
            if until in str(client.state) or client.end:
                return

    enqueue(message)
    words.up_to(2)
    read("two")
    words.up_to(3)
    read("three")
    words.all()
    while not client.end:
        read("nothing that is said")
    row = pages.ended(message)
    assert (client.end, client.last_id) == ("completed", row.revision)
    assert [part["markdown"] for part in client.state["parts"]] == [SAID]
    assert client.state["live"] is False


def _keys(keys):
    return {key.pk for key in list(keys)}
