"""What Django signals tell of a turn, as it happens."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from fix_django_app import wait_until

from opencode_sessions import Observer, allow, ask
from opencode_sessions.django import cancel, enqueue, host, signals, turn_for
from opencode_sessions.errors import ConfigurationError

NAMES = ["turn_started", "turn_changed", "turn_asked", "turn_answered", "turn_finished"]


@pytest.fixture
def told():
    """What was sent, as (name, keywords)."""
    sent = []
    with ExitStack() as stack:
        for name in NAMES:
            signal = getattr(signals, name)

            def receive(sender, signal, name=name, **told):
                sent.append((name, sender, told))

            signal.connect(receive)
            stack.callback(signal.disconnect, receive)
        yield sent


def names(told):
    """In order, each once where it comes several times in a row."""
    found = [name for name, _, _ in told]
    return [name for index, name in enumerate(found) if index == 0 or found[index - 1] != name]


def test_a_turn_tells_of_its_start_its_growth_and_its_end(chat, told):
    message = chat.message("hello", using="postgres")
    enqueue(message)
    chat.ended(message)
    wait_until(lambda: host.dispatcher().idle)
    assert names(told) == ["turn_started", "turn_changed", "turn_finished"]
    assert {sender for _, sender, _ in told} == {chat.Message}
    for _, _, keywords in told:
        assert keywords["message_key"] == f"chat_message:{message.pk}"
        assert (keywords["pk"], keywords["using"]) == (message.pk, "postgres")
    assert told[0][2]["recovered"] is False
    assert told[-1][2]["result"].content == 'You said: "hello".'
    assert told[-2][2]["reply"].text == 'You said: "hello".'


def test_asks_are_told_too(chat, told, opencode):
    asking = {"PERMISSIONS_FOR": lambda _: [allow("*"), ask("bash")], "ON_ASK": "refuse"}
    with chat.configured(opencode, **asking):
        message = chat.message('!tool bash {"command": "echo hi", "description": "say hi"}')
        enqueue(message)
        chat.ended(message)
        wait_until(lambda: host.dispatcher().idle)
    assert "turn_asked" in names(told)
    assert "turn_answered" in names(told)
    (asked,) = [keywords["ask"] for name, _, keywords in told if name == "turn_asked"]
    assert asked.permission == "bash"


def test_a_turn_that_was_cancelled_before_it_began_tells_of_its_end(chat, told):
    message = chat.message("hello")
    assert cancel(message, by="ada")
    assert names(told) == ["turn_finished"]
    assert told[0][2]["result"].status == "cancelled"


def test_a_turn_that_cannot_begin_tells_of_its_end(chat, told, opencode):
    with chat.configured(opencode, RUNNER="inline", SERVER="http://127.0.0.1:9", ON_ERROR=lambda *_: None):
        enqueue(chat.message("hello"))
    assert names(told) == ["turn_finished"]
    assert told[0][2]["result"].error["name"] == "ServerUnreachableError"


def test_a_receiver_that_raises_stops_nothing(chat, caplog):
    def broken(**_):
        raise RuntimeError("broken")

    for name in NAMES:
        getattr(signals, name).connect(broken)
    try:
        message = chat.message("hello")
        enqueue(message)
        assert chat.ended(message).status == "completed"
    finally:
        for name in NAMES:
            getattr(signals, name).disconnect(broken)
    assert "broken" in caplog.text


def test_an_observer_of_the_hosts_own_is_told_beside_them(chat, told):
    class Watching(Observer):
        def __init__(self):
            self.seen = []

        def __getattribute__(self, name):
            if name in vars(Observer) and not name.startswith("_"):
                self.seen.append(name)
            return super().__getattribute__(name)

    watching = Watching()
    turn_for(chat.message("hello"), observer=watching).run()
    assert {"created", "started", "changed", "status", "first_token", "finished"} <= set(watching.seen)
    assert names(told)[-1] == "turn_finished"


def test_an_observer_with_coroutine_functions_is_refused(chat):
    class Coroutines(Observer):
        async def started(self, session_id, prompt_id):
            pass

    with pytest.raises(ConfigurationError, match=r"Coroutines\.started must not be async"):
        turn_for(chat.message("hello"), observer=Coroutines())
