"""The views that answer, cancel and try again: with scripts and without, too late and twice."""

from __future__ import annotations

import threading

import pytest
from django.db import connections
from django.test import Client, override_settings
from fix_django_app import wait_until

from opencode_sessions.display import display_ask
from opencode_sessions.django import cancel, enqueue
from opencode_sessions.turns.asks import Ask

SLOW = "!slow 0.1\n!say one two three four five six seven eight nine ten"
QUESTION = (
    '!tool question {"questions": [{"question": "Which way?", "header": "Way", '
    '"options": [{"label": "Left", "description": "By the sea"}, {"label": "Right", "description": "Uphill"}]}]}\n'
    "!say Off we go."
)


@pytest.fixture
def post(pages):
    """Call it as a page's script does: `post(name, message, **fields)`; an answer names what the row says now."""

    def send(name, message, /, accept="application/json", **fields):
        if name == "answer":
            row = pages.row(message)
            shown = {ask["id"]: display_ask(ask, row.parts).shown for ask in row.asks}
            fields = {"shown": shown.get(fields["ask"], "")} | fields
        headers = {"X-Who": "owner", "Accept": accept}
        return Client().post(pages.address(name, message), fields, headers=headers)

    return send


@pytest.fixture
def asked(pages):
    """Call it for a message whose agent waits for an answer, and the ask."""

    def make(prompt=QUESTION):
        message = pages.message(prompt)
        enqueue(message)
        asks = wait_until(lambda: pages.row(message).asks)
        return message, asks[0]

    return make


def test_a_question_is_answered_once(pages, post, asked):
    message, ask = asked()
    response = post("answer", message, ask=ask["id"], answer="once", **{"answer-0": "Right"})
    assert (response.status_code, response.content) == (204, b"")
    row = pages.ended(message)
    assert row.status == "completed"
    assert "Right" in str(row.parts)
    again = post("answer", message, ask=ask["id"], answer="once", **{"answer-0": "Left"})
    assert again.status_code == 409
    assert "waits for no answer" in again.json()["error"]


def test_a_question_is_dismissed(pages, post, asked):
    message, ask = asked()
    assert post("answer", message, ask=ask["id"], answer="reject").status_code == 204
    assert pages.ended(message).status == "failed"


def test_a_permission_is_given_or_refused_with_a_word(pages, post, asked, web_settings):
    with override_settings(OPENCODE={**web_settings, "PERMISSIONS_FOR": "web_project.policy.ask_for_bash"}):
        message, ask = asked('!tool bash {"command": "echo made it", "description": "Say"}')
        assert post("answer", message, ask=ask["id"], answer="once").status_code == 204
        row = pages.ended(message)
        assert "made it" in str(row.parts)
        message, ask = asked('!tool bash {"command": "echo made it", "description": "Say"}')
        assert post("answer", message, ask=ask["id"], answer="reject", message="Not today").status_code == 204
        row = pages.ended(message)
        assert "Not today" in str(row.parts)
        assert row.status == "completed"


def test_nothing_is_allowed_for_always_where_the_settings_say_so(pages, post, asked, web_settings):
    careful = {
        **web_settings,
        "PERMISSIONS_FOR": "web_project.policy.ask_for_bash",
        "ALLOW_ALWAYS": False,
    }
    with override_settings(OPENCODE=careful):
        message, ask = asked('!tool bash {"command": "printf never", "description": "Say"}')
        response = post("answer", message, ask=ask["id"], answer="always")
        assert (response.status_code, response.json()["error"]) == (
            403,
            "Nothing can be allowed for always here. Allow it once, or refuse it.",
        )
        assert pages.row(message).asks
        assert post("answer", message, ask=ask["id"], answer="once").status_code == 204
        assert pages.ended(message).status == "completed"


@pytest.mark.parametrize(
    "fields",
    [{}, {"answer": "perhaps"}, {"answer": "once"}, {"answer": "once", "ask": ""}],
    ids=["nothing", "another word", "no choice", "no ask"],
)
def test_what_is_no_answer_is_refused_with_a_word(pages, post, asked, fields):
    message, ask = asked()
    response = post("answer", message, **{"ask": ask["id"], **fields})
    assert response.status_code == 400
    assert response.json()["error"]
    assert pages.row(message).asks
    cancel(message, by="test")


def test_a_server_that_is_away_is_told_without_its_address(pages, post, web_settings):
    message = pages.message("hello")
    ask = Ask(id="per_1", kind="permission", session_id="ses_1", permission="bash").to_json()
    pages.Message.objects.filter(pk=message.pk).update(status="streaming", asks=[ask])
    with override_settings(OPENCODE={**web_settings, "SERVER": "http://127.0.0.1:9"}):
        response = post("answer", message, ask="per_1", answer="once")
    assert response.status_code == 503
    assert response.json()["error"] == "The agent's server cannot be reached. Try again in a while."


def test_a_turn_is_cancelled_and_that_again_changes_nothing(pages, post, held):
    message = pages.message(SLOW)
    enqueue(message)
    wait_until(lambda: pages.row(message).content)
    assert post("cancel", message).status_code == 204
    row = pages.row(message)
    assert (row.status, row.error["by"]) == ("cancelled", "visitor")
    assert post("cancel", message).status_code == 204


def test_it_is_too_late_to_cancel_what_has_ended(pages, post):
    message = pages.message("hello")
    enqueue(message)
    pages.ended(message)
    response = post("cancel", message)
    assert response.status_code == 409
    assert "completed" in response.json()["error"]


def test_what_failed_is_tried_again_in_a_message_of_its_own(pages, post):
    message = pages.message("!error 400 no\n!say hello", lease=30.0)
    enqueue(message)
    failed = pages.ended(message)
    told = post("retry", message).json()
    again = pages.Message.objects.get(pk=told["pk"])
    assert told == {"label": "chat.message", "pk": str(again.pk), "events": pages.events(again)}
    assert (again.prompt, again.conversation_id, again.lease) == (
        message.prompt,
        message.conversation_id,
        30.0,
    )
    assert pages.ended(again).status == "failed"
    row = pages.row(message)
    assert (row.status, row.content, row.parts) == ("failed", failed.content, failed.parts)
    assert row.error == {**failed.error, "retried_as": str(again.pk)}


def test_however_often_it_is_clicked_it_is_tried_again_once(pages, post):
    message = pages.message("!error 400 no")
    enqueue(message)
    pages.ended(message)
    told, go = [], threading.Barrier(6)

    def click():
        go.wait()
        told.append(post("retry", message).json())
        connections.close_all()

    threads = [threading.Thread(target=click) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["pk"] for answer in told}) == 1
    assert pages.Message.objects.filter(conversation_id=message.conversation_id).count() == 2


def test_a_retry_that_was_deleted_does_not_stand_for_one(pages, post):
    message = pages.message("!error 400 no")
    enqueue(message)
    pages.ended(message)
    first = post("retry", message).json()["pk"]
    pages.ended(pages.Message.objects.get(pk=first)).delete()
    second = post("retry", message).json()["pk"]
    assert pages.Message.objects.get(pk=second).prompt == message.prompt


def test_what_was_just_cancelled_is_tried_again_once(pages, post, held):
    message = pages.message(SLOW)
    enqueue(message)
    wait_until(lambda: pages.row(message).content)
    post("cancel", message)
    first = post("retry", message).json()
    assert post("retry", message).json() == first
    cancel(pages.Message.objects.get(pk=first["pk"]), by="test")


@pytest.mark.parametrize(
    ("status", "said"),
    [("pending", "it waits for its turn"), ("streaming", "it is at work"), ("completed", "it is completed")],
)
def test_there_is_nothing_to_be_tried_again_of_what_did_not_fail(pages, post, status, said):
    message = pages.message("hello")
    pages.Message.objects.filter(pk=message.pk).update(status=status)
    response = post("retry", message)
    assert response.status_code == 409
    assert said in response.json()["error"]
    assert pages.Message.objects.filter(conversation_id=message.conversation_id).count() == 1


def test_the_host_makes_the_message_that_tries_again(pages, post, web_settings):
    message = pages.message("!error 400 no")
    enqueue(message)
    pages.ended(message)
    with override_settings(OPENCODE={**web_settings, "RETRY": "web_project.policy.retry"}):
        again = pages.Message.objects.get(pk=post("retry", message).json()["pk"])
    assert again.lease == 7.0


def test_a_form_of_a_page_without_scripts_is_sent_back_to_it(pages, post, held):
    message = pages.message(SLOW)
    enqueue(message)
    response = post("cancel", message, accept="text/html,*/*", next="/page/1")
    assert (response.status_code, response["Location"]) == (303, "/page/1")
    elsewhere = post("cancel", message, accept="text/html,*/*", next="https://evil.example/")
    assert (elsewhere.status_code, elsewhere["Location"]) == (303, "/")


def test_without_its_token_a_form_is_refused(pages):
    message = pages.message("hello")
    careful = Client(enforce_csrf_checks=True)
    assert careful.post(pages.address("cancel", message), headers={"X-Who": "owner"}).status_code == 403
    with override_settings(MIDDLEWARE=[]):
        assert careful.post(pages.address("cancel", message), headers={"X-Who": "owner"}).status_code == 403
    assert careful.get(pages.address("cancel", message), headers={"X-Who": "owner"}).status_code == 405
    assert pages.row(message).status == "pending"
