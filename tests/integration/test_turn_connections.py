"""No connection to the database is held while a turn waits for the network."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connections
from fix_django_app import wait_until
from fix_stores import add_alias, sqlalchemy_urls
from host_models import Answer, Conversation
from selection import sample
from sqlalchemy import create_engine
from sqlalchemy.orm import Session as Database

from opencode_sessions import Observer, Session, Turn
from opencode_sessions.django import enqueue, signals, turn_for

PROMPT = "!slow 0.3\n!say one two three four five six"


class Looking(Observer):
    """Notes with every change whether a connection is held."""

    def __init__(self, is_held):
        self._is_held = is_held
        self.seen = []

    def changed(self, change, reply):
        self.seen.append(self._is_held())


@contextmanager
def max_age(using, seconds):
    """`CONN_MAX_AGE` of a database that is open in no thread."""
    held = connections.settings[using]["CONN_MAX_AGE"]
    connections.settings[using]["CONN_MAX_AGE"] = seconds
    try:
        yield
    finally:
        connections.settings[using]["CONN_MAX_AGE"] = held


@pytest.fixture
def pooled(chat):
    """The alias of PostgreSQL with Django's pool, which has one connection."""
    options = {"pool": {"min_size": 1, "max_size": 1}}
    database = {
        key: value
        for key, value in connections.settings["postgres"].items()
        if key not in ("OPTIONS", "TEST")
    }
    add_alias("pooled", {**database, "OPTIONS": options})
    yield "pooled"
    connections["pooled"].close()
    connections["pooled"].close_pool()
    del connections["pooled"]
    del connections.settings["pooled"]


@pytest.fixture
def elsewhere():
    """Runs a function in a thread that has no connection yet."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function: pool.submit(function).result(60)
        pool.submit(connections.close_all).result(10)


@pytest.mark.parametrize("using", sample(["postgres", "default"]))
def test_with_django_none_is_held_that_was_opened_for_the_turn(chat, using, elsewhere):
    looking = Looking(lambda: connections[using].connection is not None)
    result = elsewhere(turn_for(chat.message(PROMPT, using=using), observer=looking).run)
    assert result.content == "one two three four five six"
    assert looking.seen
    assert not any(looking.seen)


@pytest.mark.parametrize("using", sample(["postgres", "default"]))
def test_nor_by_a_runner_of_this_process(chat, using):
    looking = Looking(lambda: connections[using].connection is not None)

    def changed(sender, change, reply, **_):
        looking.changed(change, reply)

    signals.turn_changed.connect(changed)
    try:
        message = chat.message(PROMPT, using=using)
        enqueue(message)
        assert chat.ended(message).status == "completed"
    finally:
        signals.turn_changed.disconnect(changed)
    assert looking.seen
    assert not any(looking.seen)


@pytest.mark.full
def test_a_host_that_wants_connections_to_live_longer_has_its_way(chat, elsewhere):
    looking = Looking(lambda: connections["postgres"].connection is not None)
    with max_age("postgres", 60):
        elsewhere(turn_for(chat.message(PROMPT, using="postgres"), observer=looking).run)
    assert looking.seen
    assert all(looking.seen)


def test_one_that_the_caller_had_open_is_left_to_them(chat):
    message = chat.message(PROMPT, using="postgres")
    mine = connections["postgres"].connection
    assert mine is not None
    turn_for(message).run()
    assert connections["postgres"].connection is mine


def test_the_pool_gets_back_even_a_connection_that_the_caller_had_open(chat, pooled):
    message = chat.message(PROMPT, using=pooled)
    assert connections[pooled].connection is not None
    looking = Looking(lambda: connections[pooled].connection is not None)
    turn_for(message, observer=looking).run()
    assert looking.seen
    assert not any(looking.seen)


def test_several_turns_run_at_once_over_the_only_connection_of_a_pool(chat, opencode, words, pooled):
    with chat.configured(opencode, THREADS=4):
        words.up_to(1)
        messages = [chat.message(PROMPT, using=pooled) for _ in range(4)]
        for message in messages:
            enqueue(message)
        connections[pooled].close()
        wait_until(lambda: all(_row(chat, message).content for message in messages))
        words.all()
        wait_until(lambda: all(_row(chat, message).status == "completed" for message in messages))
    assert {_row(chat, message).content for message in messages} == {"one two three four five six"}


def _row(chat, message):
    """A fresh row, over another connection than the pool's."""
    return chat.Message.objects.using("postgres").get(pk=message.pk)


@pytest.mark.parametrize("database", sample(["postgres", "sqlite"]))
def test_with_sqlalchemy_none_is_taken_from_the_engine(request, client, database):
    engine = create_engine(sqlalchemy_urls(request.getfixturevalue, database)[0])
    looking = Looking(engine.pool.checkedout)
    with Database(engine, expire_on_commit=False) as rows:
        conversation, answer = Conversation(title="Lisbon"), Answer(prompt=PROMPT)
        rows.add_all([conversation, answer])
        rows.commit()
        result = Turn(answer, Session(conversation), client, observer=looking).run()
    engine.dispose()
    assert result.content == "one two three four five six"
    assert looking.seen
    assert not any(looking.seen)
