"""Several OpenCode servers in a Django project."""

from __future__ import annotations

import asyncio
import io
import re

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db.models import Q
from fix_django_app import wait_until
from model_bodies import bodies_asked

from opencode_sessions import BudgetExceededError, ConfigurationError, UnknownServerError, retold
from opencode_sessions.django import aturn_for, client, enqueue, servers, session_for, turn_for
from opencode_sessions.django.conf import settings
from opencode_sessions.host import Limit

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def several(chat, opencode):
    """The project with two servers by name, which are one here; with what is said of them beside the URL."""

    def configured(**said):
        url, password = opencode["SERVER"], opencode["PASSWORD"]
        each = {name: {"url": url, "password": password, **more} for name, more in said.items()}
        return chat.configured({**opencode, "SERVER": None}, SERVERS=each)

    return configured


def test_a_record_is_placed_and_its_turns_go_there(chat, several):
    with several(a={"draining": True}, b={"turns": 2}):
        message = chat.message("hello")
        assert turn_for(message).run().status == "completed"
        record = message.conversation
        record.refresh_from_db()
        assert record.opencode_server == "b"
        assert session_for(record).ensure(servers()) == record.opencode_session_id

        again = chat.message("hello", conversation=record)

        async def run():
            return await (await aturn_for(again)).run()

        assert asyncio.run(run()).status == "completed"
        assert client("b").get(record.opencode_session_id).id == record.opencode_session_id
        with pytest.raises(ConfigurationError, match="several servers, a, b"):
            client()
        with pytest.raises(ConfigurationError, match=r"no server 'c': OPENCODE\[\"SERVERS\"\] has a, b"):
            client("c")


def retell(record):
    turns = record.message_set.filter(status="completed").order_by("pk")
    return retold(turns.values_list("prompt", "content"))


def test_a_session_that_was_replaced_is_told_what_was_said(chat, opencode):
    with chat.configured(opencode, TURN_OPTIONS=lambda _: {"retell": retell}):
        first = chat.message("!say We go to Lisbon.")
        assert turn_for(first).run().status == "completed"
        session_for(first.conversation).recreate(client())
        with bodies_asked() as bodies:
            again = turn_for(chat.message("!say In May.", conversation=first.conversation)).run()
    assert (again.status, again.content) == ("completed", "In May.")
    assert '{"user": "!say We go to Lisbon.", "you": "We go to Lisbon."}' in str(bodies[-1])


@pytest.mark.full
def test_what_is_enqueued_waits_while_its_server_is_full(chat, several):
    with several(a={"turns": 1}):
        slow = chat.message("!slow 0.1\n!say one two three four five six")
        other = chat.message("hello")
        enqueue(slow)
        wait_until(lambda: chat.row(slow).content)
        enqueue(other)
        ended = []

        def both():
            rows = [chat.row(slow), chat.row(other)]
            ended.extend(row.pk for row in rows if row.status == "completed" and row.pk not in ended)
            return len(ended) == len(rows)

        wait_until(both)
        assert ended == [slow.pk, other.pk]
        assert chat.row(other).started_at is None or chat.row(other).finished_at > chat.row(slow).finished_at


def test_what_a_user_may_use_is_limited(chat, opencode):
    def limit_for(message):
        of = Q(conversation=message.conversation_id)
        return Limit(name="this chat", of=of, tokens=1, turns=1)

    with chat.configured(opencode, LIMIT_FOR=limit_for):
        message = chat.message("hello")
        turn_for(message).run()  # its one answer takes more than there is, and has ended then
        with pytest.raises(BudgetExceededError, match="the budget of this chat is spent"):
            turn_for(chat.message("hello", conversation=message.conversation)).run()
        again = chat.message("hello", conversation=message.conversation)

        async def run():
            return await (await aturn_for(again)).run()

        with pytest.raises(BudgetExceededError):
            asyncio.run(run())


def test_the_doctor_tells_of_each_server_and_of_rows_that_are_on_none(chat, several):
    with several(a={}):
        lost = chat.message("hello")
        turn_for(lost).run()
    with several(b={"turns": 3}, c={"draining": True}):
        out = io.StringIO()
        call_command("opencode_doctor", stdout=out, no_color=True)
        said = out.getvalue()
        assert re.search(r"^ok +server of b +1\.", said, re.MULTILINE)
        assert re.search(r"^ok +memory of c ", said, re.MULTILINE)
        assert re.search(
            r"^ok +load of servers +b: 0 of 3 turns, c: 0 turns \(draining\)$", said, re.MULTILINE
        )
        assert re.search(r"^warning +chat\.Conversation .* on a, which is no server", said, re.MULTILINE)
        with pytest.raises(UnknownServerError, match=r"'a'.*servers: b, c"):
            turn_for(chat.message("hello", conversation=lost.conversation)).run()
        session_for(lost.conversation).recreate(servers(), server="b")
        assert turn_for(chat.message("hello", conversation=lost.conversation)).run().status == "completed"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"a": "http://here"}, r'OPENCODE\["SERVERS"\]\["a"\] must be a dict with url and some of'),
        ({"a": {"url": "here"}}, r'OPENCODE\["SERVERS"\]\["a"\] cannot work'),
        ({"a": {"url": "http://here", "turns": 0}}, "turns must be a whole number above 0"),
        ({}, 'must be a dict such as {"a"'),
    ],
)
def test_servers_that_cannot_work_are_told_by_their_key(chat, opencode, said, expected):
    with (
        chat.configured({**opencode, "SERVER": None}, SERVERS=said),
        pytest.raises(ImproperlyConfigured, match=expected),
    ):
        settings()
    with (
        chat.configured(opencode, SERVERS={"a": {"url": "http://here"}}),
        pytest.raises(ImproperlyConfigured, match="server or servers, and not both"),
    ):
        settings()
