"""The FastAPI chat: turns that are enqueued with their row, shown in JSON as they run, and steered by who may."""

from __future__ import annotations

import json

import pytest
from selection import sample

RUN = '!tool bash {"command": "echo hello", "description": "greets"}'
LONG = "!slow 0.05\n!say one two three four five six"


@pytest.fixture
def ada(fastapi_chat):
    return fastapi_chat.visitor()


def text(state):
    return "\n".join(part["markdown"].strip() for part in state["parts"] if part["type"] == "text")


@pytest.mark.parametrize("database", sample(["postgres", "sqlite"], "sqlite"))
def test_a_prompt_is_answered_and_the_answer_stays(start_fastapi, fastapi_database, database):
    ada = start_fastapi(fastapi_database(database)).visitor()
    message = ada.send("hello")
    state = ada.ended(message)
    assert (state["status"], text(state), state["live"]) == ("completed", 'You said: "hello".', False)
    assert state["bill"]["output_tokens"] > 0
    assert ada.ended(message) == state
    assert ada.chat in str(ada.http.get("/").url)


def test_the_text_is_shown_before_the_end_and_comes_in_pieces(ada, held):
    with ada.watch(ada.send(LONG)) as watched:
        watched.wait_for_text("four")
        assert watched.end is None
        held.set()
        assert text(watched.ended()) == "one two three four five six"
        assert watched.events[-2:] == ["state", "end"]
        assert "text" in watched.events


@pytest.mark.full
def test_two_watch_one_goes_and_comes_back_to_where_it_was(ada, held):
    message = ada.send(LONG)
    with ada.watch(message) as first, ada.watch(message) as second:
        first.wait_for_text("four")
        second.wait_for_text("four")
        with ada.watch(message, last=second.last_id) as again:
            again.wait_for_text("four")
            held.set()
            assert text(first.ended()) == text(second.ended()) == text(again.ended())


def test_who_shows_all_of_a_turn_that_has_ended_is_sent_nothing_more_of_it(ada):
    message = ada.send("hello")
    with ada.watch(message) as watched:
        watched.ended()
    with ada.watch(message, last=watched.last_id) as again:
        again.wait(lambda watched: watched.end)
        assert again.events == ["begin", "end"]


@pytest.mark.parametrize("reply", ["once", "reject"])
def test_what_the_agent_asks_is_answered(ada, reply):
    message = ada.send(RUN)
    with ada.watch(message) as watched:
        ask = watched.ask()
        assert (ask["permission"], ask["target"]) == ("bash", "echo hello")
        assert ada.act(message, "answer", ask=ask["id"], reply=reply, shown=ask["shown"]).status_code == 204
        state = watched.ended()
        assert state["asks"] == []
    (tool,) = (part for part in state["parts"] if part["type"] == "tool")
    assert tool["state"] == ("done" if reply == "once" else "refused")
    late = ada.act(message, "answer", ask=ask["id"], reply="once", shown=ask["shown"])
    assert (late.status_code, "any more" in late.json()["detail"]) == (409, True)


@pytest.mark.full
def test_a_long_ask_is_shown_whole_where_it_is_asked_for_and_then_answered(ada):
    lines = [f"echo line {number}" for number in range(700)]
    message = ada.send(f"!tool bash {json.dumps({'command': chr(10).join(lines), 'description': 'x'})}")
    with ada.watch(message) as watched:
        ask = watched.ask()
        assert ask["left_out"] > 0
        assert lines[-1] not in json.dumps(ask)
        response = ada.http.get(f"/turns/messages/{message}/asks/{ask['id']}")
        whole = response.json()
        assert response.headers["Cache-Control"] == "no-store"
        assert (whole["left_out"], whole["shown"], {*whole}) == (0, ask["shown"], {*ask})
        assert whole["detail"]["command"].split("\n") == lines
        assert (
            ada.act(message, "answer", ask=ask["id"], reply="reject", shown=whole["shown"]).status_code == 204
        )
        watched.ended()
    late = ada.http.get(f"/turns/messages/{message}/asks/{ask['id']}")
    assert (late.status_code, "any more" in late.json()["detail"]) == (409, True)


@pytest.mark.full
def test_answers_that_cannot_be_are_refused_and_the_turn_waits_on(ada):
    message = ada.send(RUN)
    with ada.watch(message) as watched:
        ask = watched.ask()
        known = {"ask": ask["id"], "shown": ask["shown"]}
        for body, status, said in (
            ({"ask": ask["id"], "reply": "once"}, 400, "shown"),
            ({**known, "reply": "once", "shown": "0123456789abcdef"}, 409, "has changed"),
            ({**known, "reply": "always"}, 403, "for always"),
            ({**known, "ask": "per_other", "reply": "once"}, 409, "any more"),
            ({**known, "reply": "perhaps"}, 422, "reply"),
            ({"reply": "once"}, 422, "ask"),
        ):
            answer = ada.act(message, "answer", **body)
            assert (answer.status_code, said in answer.text) == (status, True), answer.text
        assert ada.act(message, "cancel").status_code == 204
        assert watched.ended()["status"] == "cancelled"


@pytest.mark.full
def test_a_question_is_answered_with_what_was_chosen(ada):
    asks = '!tool question {"questions": [{"question": "Which?", "header": "Fruit", "options": '
    asks += '[{"label": "Apple", "description": ""}, {"label": "Pear", "description": ""}]}]}'
    message = ada.send(asks)
    with ada.watch(message) as watched:
        ask = watched.ask()
        answer = {"ask": ask["id"], "reply": "once", "shown": ask["shown"]}
        for labels, said in (([], "each of the 1 questions"), ([[]], "Choose an answer")):
            refused = ada.act(message, "answer", **answer, labels=labels)
            assert (refused.status_code, said in refused.text) == (400, True)
        assert ada.act(message, "answer", **answer, labels=[["Pear"]]).status_code == 204
        assert "Pear" in text(watched.ended())


def test_a_turn_is_stopped_and_tried_again_once_however_often_that_is_asked(ada, held):
    message = ada.send(LONG)
    with ada.watch(message) as watched:
        watched.wait_for_text("four")
        assert ada.act(message, "cancel").status_code == 204
        assert ada.act(message, "cancel").status_code == 204
        state = watched.ended()
    held.set()
    assert (state["status"], text(state)) == ("cancelled", "one two three four")
    first, second = (ada.act(message, "retry").json() for _ in range(2))
    assert first == second != {"table": "messages", "pk": str(message)}
    assert text(ada.ended(first["pk"])) == "one two three four five six"
    for what in ("cancel", "retry"):
        assert ada.act(first["pk"], what).status_code == 409


@pytest.mark.full
def test_turns_of_one_chat_are_answered_in_the_order_in_which_they_were_sent(ada, held):
    first = ada.send(LONG)
    second = ada.send("hello")
    with ada.watch(first) as watched, ada.watch(second) as waiting:
        watched.wait_for_text("four")
        assert waiting.state["status"] == "pending"
        held.set()
        assert text(waiting.ended()).startswith('You said: "hello".')
        assert watched.end == "completed"


def test_others_see_nothing_and_can_do_nothing(ada, fastapi_chat):
    message = ada.send("hello")
    ada.ended(message)
    other = fastapi_chat.visitor()
    for url in (
        f"/turns/messages/{message}",
        "/turns/messages/999999",
        "/turns/nothing/1",
        "/turns/messages/x",
    ):
        assert other.http.get(f"{url}/events").status_code == 404
        assert other.http.get(f"{url}/asks/per_1").status_code == 404
        for what in ("cancel", "retry"):
            assert other.http.post(f"{url}/{what}").status_code == 404
        body = {"ask": "per_1", "reply": "reject"}
        assert other.http.post(f"{url}/answer", json=body).status_code == 404
    assert other.http.post(f"/chats/{ada.chat}/messages", data={"prompt": "hello"}).status_code == 404
