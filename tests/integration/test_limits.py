"""Limits for each user or tenant: turns at a time, and budgets."""

from __future__ import annotations

import threading
import time

import pytest
from host_models import Prompt
from host_rows import PATIENCE, Rows, urls_of

from opencode_sessions import TRUSTED, BudgetExceededError, ConfigurationError, TurnLimitError
from opencode_sessions.host import Limit, Server

HELD = "!say one two three four five six"
TOOLS = """!tool bash {"command": "true", "description": "nothing"}
!tool bash {"command": "sleep 30", "description": "waits"}"""


@pytest.fixture
def rows(request, server, tmp_path):
    with Rows(server, urls_of(request, tmp_path, "sqlite")[0]) as rows:
        yield rows


def limited(rows, **limit):
    """A host whose messages of one record share a limit."""

    def limit_for(message):
        of = Prompt.conversation_id == message.conversation_id
        return Limit(name=f"conversation {message.conversation_id}", of=of, **limit)

    return rows.host(limit_for=limit_for)


def everybodys(rows, **limit):
    """A host whose messages all share a limit."""
    return rows.host(limit_for=lambda _: Limit(name="everybody", of=Prompt.id > 0, **limit))


@pytest.mark.full
def test_a_turn_over_the_limit_waits_and_runs_later(rows, held):
    with everybodys(rows, turns=1) as host:
        first = rows.send(host, HELD)
        rows.until(first, lambda row: row.content)
        second = rows.send(host, "hello")
        with pytest.raises(TurnLimitError, match="1 turns of everybody run"):
            host.turn_for(second).run()
        assert rows.row(second).status == "pending"
        held.set()
        assert rows.ended(second).status == "completed"
        assert rows.row(first).status == "completed"
    assert rows.told == []


def test_a_place_goes_to_the_first_waiting_turn_that_no_other_limit_keeps_waiting(rows, server, held):
    def limit_for(message):
        is_adas = Prompt.prompt.contains("ada")
        if "ada" in message.prompt:
            return Limit(name="ada", of=is_adas, turns=1)
        return Limit(name="others", of=~is_adas, turns=10)

    servers = {"a": Server(url=server.url, password=server.password, turns=2)}
    known = {"server": None, "password": None, "servers": servers}
    with rows.host(**known, limit_for=limit_for, recover=False) as host:
        adas = rows.send(host, "!say one two three four five ada")
        rows.until(adas, lambda row: "three" in row.content)
        ends = rows.send(host, "!slow 600\n!say one two three")
        rows.until(ends, lambda row: row.status == "streaming" and row.opencode_prompt_id)
        adas_next, other = rows.send(host, "hello ada"), rows.send(host, "hello")
        for waiting in (adas_next, other):
            rows.until(waiting, lambda row: row.opencode_turn_parked)
        host.cancel(ends, by="them")
        assert rows.ended(other).status == "completed"
        assert rows.row(adas).status == "streaming"
        assert rows.row(adas_next).status == "pending"
        held.set()
        assert rows.ended(adas_next).status == "completed"
    assert rows.told == []


def test_a_turn_over_the_limit_fails_if_the_host_says_so(rows, held):
    with everybodys(rows, turns=1, waits=False) as host:
        first = rows.send(host, HELD)
        rows.until(first, lambda row: row.content)
        refused = rows.ended(rows.send(host, "hello"))
        assert (refused.status, refused.error["name"]) == ("failed", "TurnLimitError")
        held.set()
        assert rows.ended(first).status == "completed"


def test_a_turn_that_waited_and_cannot_begin_lets_others_begin(rows):
    broken = threading.Event()

    def turn_options(message):
        if broken.is_set() and message.prompt == "broken":
            raise ValueError("no such file")
        return {}

    limit = Limit(name="everybody", of=Prompt.id > 0, turns=1)
    with rows.host(limit_for=lambda _: limit, turn_options=turn_options, recover=False) as host:
        first = rows.send(host, "!slow 1\n!say" + " word" * 100)
        rows.until(first, lambda row: row.content)
        record = rows.conversation()
        fails = rows.send(host, "broken", record)
        rows.until(fails, lambda row: row.opencode_turn_parked)
        behind = rows.send(host, "hello", record)
        rows.until(behind, lambda row: row.opencode_turn_lease is None)
        other = rows.send(host, "hello")
        rows.until(other, lambda row: row.opencode_turn_parked)
        broken.set()
        host.turn_for(first).cancel()
        assert [rows.ended(each).status for each in (first, fails, behind, other)] == [
            "cancelled",
            "failed",
            "completed",
            "completed",
        ]
    assert [action for action, _ in rows.told] == ["run"]


def test_a_budget_that_is_spent_lets_no_turn_begin_and_others_do(rows):
    with limited(rows, tokens=1) as host:
        record = rows.conversation()
        rows.add("old", record, status="completed", input_tokens=1)
        refused = rows.ended(rows.send(host, "hello", record))
        assert (refused.status, refused.error["name"]) == ("failed", "BudgetExceededError")
        assert "of 1 tokens" in refused.error["message"]
        with pytest.raises(BudgetExceededError, match="cannot begin"):
            host.turn_for(rows.add("hello", record)).run()
        assert rows.row(rows.send(host, "hello")).error is None


def test_a_turn_that_spends_the_budget_ends_and_keeps_its_answer(rows):
    with rows.host(
        permissions_for=TRUSTED, limit_for=lambda _: Limit(name="everybody", of=Prompt.id > 0, tokens=1)
    ) as host:
        ended = rows.ended(rows.send(host, TOOLS))
        assert (ended.status, ended.error["name"]) == ("failed", "BudgetExceededError")
        assert "was ended: the budget of everybody is spent" in ended.error["message"]
        assert ended.parts
        deadline = time.monotonic() + PATIENCE
        while ended.opencode_prompt_session_id in host.client.status():
            assert time.monotonic() < deadline, "its agent was not stopped"
            time.sleep(0.05)


@pytest.mark.parametrize("said", [{"turns": 0}, {"cost": -1.0}, {"tokens": "many"}, {"name": ""}])
def test_a_limit_that_cannot_work_is_refused(said):
    with pytest.raises(ConfigurationError, match=f"a limit's {next(iter(said))} must be"):
        Limit(**{"name": "x", "of": None, **said})


def test_what_is_no_limit_is_refused(rows):
    with (
        rows.host(limit_for=lambda _: 3) as host,
        pytest.raises(ConfigurationError, match="must return a Limit"),
    ):
        host.turn_for(rows.add("hello"))
