"""The session of a record and the turn of a message, with all that the settings say."""

from __future__ import annotations

import re

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from opencode_sessions import IN_THE_ROW, Deadlines, allow, deny
from opencode_sessions.django import asession_for, async_client, aturn_for, client, session_for, turn_for
from opencode_sessions.django.registry import message_models, record_field, record_models, record_of
from opencode_sessions.errors import ConfigurationError, WireError


def test_a_session_is_made_with_the_rules_and_the_namespace_of_the_settings(chat, opencode):
    conversation = chat.conversation()
    with chat.configured(
        opencode, NAMESPACE="shop", PERMISSIONS_FOR=lambda record: [deny("bash"), allow(record.title)]
    ):
        session_id = session_for(conversation).ensure(client())
        info = client().get(session_id)
    assert info.metadata == {"namespace": "shop", "record": f"chat_conversation:{conversation.pk}"}
    assert [(rule["permission"], rule["action"]) for rule in info.rules] == [
        ("bash", "deny"),
        ("Lisbon", "allow"),
    ]


def test_what_must_not_be_raised_goes_where_the_settings_say(chat, opencode):
    told = []
    conversation = chat.conversation()
    session_for(conversation).ensure(client())
    with chat.configured(opencode, SERVER="http://127.0.0.1:9", ON_ERROR=lambda *what: told.append(what)):
        session_for(conversation).abort(client())
    ((error, context),) = told
    assert isinstance(error, WireError)
    assert context.action == "abort"


def test_a_turn_is_run_with_the_options_of_the_settings_and_then_those_given(chat, opencode):
    said = {"deadlines": Deadlines(total=7.0), "agent": "plan", "when_busy": "wait"}
    with chat.configured(opencode, TURN_OPTIONS=lambda message: {**said, "fallback": message.prompt}):
        core = turn_for(chat.message("hello"), agent="build")._core
    assert core._spec.deadlines.total == 7.0
    assert core._spec.options.agent == "build"
    assert core._spec.fallback == "hello"
    assert core._spec.on_ask is IN_THE_ROW
    assert core._when_busy == "wait"


def test_options_that_are_none_are_told_by_their_setting(chat, opencode):
    with chat.configured(opencode, TURN_OPTIONS=lambda _: None):
        with pytest.raises(ImproperlyConfigured, match=r'OPENCODE\["TURN_OPTIONS"\] must return a dict'):
            turn_for(chat.message("hello"))


def test_an_option_that_turn_does_not_take_is_told_by_its_setting(chat, opencode):
    for said, complaint in (
        ({"modle": "x"}, "says 'modle', which Turn does not take. Did you mean 'model'?"),
        ({"message": 1, "model": "x"}, "says 'message', which Turn does not take."),
        ({1: 2}, "says 1, which Turn does not take. There are: agent, model"),
    ):
        with (
            chat.configured(opencode, TURN_OPTIONS=lambda _, said=said: said),
            pytest.raises(ImproperlyConfigured, match=re.escape(f'OPENCODE["TURN_OPTIONS"] {complaint}')),
        ):
            turn_for(chat.message("hello"))


def test_a_turn_is_run_where_it_is_called(chat):
    message = chat.message("hello", using="postgres")
    assert turn_for(message).run().content == 'You said: "hello".'
    assert message.content == 'You said: "hello".'


def test_a_turn_is_awaited(chat):
    message = chat.message("hello")

    async def ask():
        turn = await aturn_for(message)
        return await turn.run()

    assert async_to_sync(ask)().content == 'You said: "hello".'
    assert chat.row(message).status == "completed"


def test_a_session_is_awaited(chat):
    conversation = chat.conversation()

    async def ensure():
        return await (await asession_for(conversation)).ensure(async_client())

    session_id = async_to_sync(ensure)()
    assert client().get(session_id).title == "Lisbon"


def test_the_models_of_the_project_are_known(chat):
    assert record_models() == [chat.Conversation]
    assert message_models() == [chat.Message]


def test_a_message_leads_to_its_record(chat, isolated):
    message = chat.message("hello")
    assert record_of(message) == message.conversation
    assert record_field(chat.Message).name == "conversation"


@pytest.fixture
def isolated(chat):
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - once Django is configured

    made = []

    def make(name, **fields):
        body = {
            "__module__": __name__,
            "Meta": type("Meta", (MessageModel.Meta,), {"app_label": "unlike"}),
            **fields,
        }
        made.append(type(name, (MessageModel,), body))
        return made[-1]

    yield make
    from django.apps import apps  # noqa: PLC0415 - likewise

    for model in made:
        del apps.all_models["unlike"][model._meta.model_name]
    apps.clear_cache()


def key(to, **more):
    return models.ForeignKey(to, on_delete=models.CASCADE, related_name="+", **more)


def test_a_message_without_a_way_to_a_record_is_told_what_to_define(chat, isolated):
    lonely = isolated("Lonely")
    with pytest.raises(ConfigurationError, match=r"Lonely has no foreign key to a record: define a property"):
        record_of(lonely())


def test_a_message_with_several_is_told_their_names(chat, isolated):
    torn = isolated("Torn", here=key(chat.Conversation), there=key(chat.Conversation))
    with pytest.raises(ConfigurationError, match=r"Torn has several foreign keys to records \(here, there\)"):
        record_of(torn())


def test_a_property_of_the_hosts_own_decides(chat, isolated):
    conversation = chat.conversation()
    own = isolated(
        "Own",
        here=key(chat.Conversation),
        there=key(chat.Conversation),
        opencode_record=property(lambda self: self.there),
    )
    assert record_of(own(there=conversation)) is conversation


def test_a_one_to_one_field_leads_to_a_record_too(chat, isolated):
    single = isolated(
        "Single", chat=models.OneToOneField(chat.Conversation, on_delete=models.CASCADE, related_name="+")
    )
    conversation = chat.conversation()
    assert record_of(single(chat=conversation)) is conversation


def test_no_record_at_all_is_told(chat, isolated):
    empty = isolated("Empty", chat=key(chat.Conversation, null=True))
    with pytest.raises(ConfigurationError, match=r"Empty\.opencode_record is None"):
        record_of(empty())
