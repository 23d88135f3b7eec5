"""The simulator's server answers as the real one does: else what the simulator shows would be of another world.

This is the part of sessions; that of prompts and answers is in test_simulated_turns.py.
"""

from __future__ import annotations

import pytest
from simulator.calls import WirePort, answer, drive
from simulator.world import SimulatedServer, SimulatedServerOfV2

from opencode_sessions import Client, SessionNotFoundError, allow, deny, new_session_id
from opencode_sessions.runtime.stepping import run_sync

READ, WRITE = [allow("read")], [deny("edit"), allow("edit", "docs/*")]

STEPS = {
    "create": lambda wire, session_id: wire.create(session_id, directory=None),
    "create with all": lambda wire, session_id: wire.create(
        session_id, directory=None, title="A trip", rules=READ, metadata={"namespace": "shop"}
    ),
    "guard": lambda wire, session_id: wire.update(
        session_id, title="A trip", rules=READ, metadata={"namespace": "shop", "record": "trips:1"}
    ),
    "change": lambda wire, session_id: wire.update(
        session_id, title=None, rules=WRITE, metadata={"record": "trips:2"}
    ),
    "retitle": lambda wire, session_id: wire.update(session_id, title="Home", rules=None, metadata=None),
    "get": lambda wire, session_id: wire.get(session_id),
    "stop": lambda wire, session_id: wire.stop(session_id),
    "delete": lambda wire, session_id: wire.delete(session_id),
}


def outcome(wire, step, session_id):
    """What a caller learns of a step, in a form of which two can be compared."""
    try:
        answer = run_sync(STEPS[step](wire, session_id))
    except SessionNotFoundError:
        return "no such session"
    if step == "stop":
        return list(answer)
    if step == "delete":
        return answer
    title = answer.title if answer.title in ("A trip", "Home") else "the server's own"
    return answer.id, title, [dict(rule) for rule in answer.rules], dict(answer.metadata)


@pytest.fixture(params=["simulated", "real"])
def wire(request):
    if request.param == "simulated":
        return SimulatedServer()
    return request.getfixturevalue("client")._core


@pytest.fixture
def session_id():
    return new_session_id()


def test_what_is_created_has_no_rules_and_no_metadata(wire, session_id):
    assert outcome(wire, "create", session_id) == (session_id, "the server's own", [], {})


def test_creating_again_changes_nothing_although_its_answer_shows_no_rules(wire, session_id):
    outcome(wire, "create", session_id)
    guarded = outcome(wire, "guard", session_id)
    assert outcome(wire, "create", session_id) == (session_id, "A trip", [], {})
    assert outcome(wire, "get", session_id) == guarded


def test_rules_are_appended_metadata_is_replaced_and_none_leaves_what_is_there(wire, session_id):
    outcome(wire, "create", session_id)
    outcome(wire, "guard", session_id)
    outcome(wire, "change", session_id)
    _, title, rules, metadata = outcome(wire, "retitle", session_id)
    assert title == "Home"
    assert [(rule["permission"], rule["action"]) for rule in rules] == [
        ("read", "allow"),
        ("edit", "deny"),
        ("edit", "allow"),
    ]
    assert metadata == {"record": "trips:2"}


@pytest.mark.parametrize("step", ["guard", "change", "retitle", "get"])
def test_what_does_not_exist_cannot_be_changed_or_read(wire, session_id, step):
    assert outcome(wire, step, session_id) == "no such session"
    outcome(wire, "create", session_id)
    outcome(wire, "delete", session_id)
    assert outcome(wire, step, session_id) == "no such session"


def test_stopping_leaves_the_session_as_it_is(wire, session_id):
    outcome(wire, "create", session_id)
    guarded = outcome(wire, "guard", session_id)
    assert outcome(wire, "stop", session_id) == []
    assert outcome(wire, "get", session_id) == guarded


def test_what_does_not_exist_can_be_stopped_and_deleted(wire, session_id):
    assert outcome(wire, "stop", session_id) == []
    assert outcome(wire, "delete", session_id) is False


def test_what_was_deleted_can_be_created_again_and_has_lost_its_rules(wire, session_id):
    outcome(wire, "create", session_id)
    outcome(wire, "guard", session_id)
    assert outcome(wire, "delete", session_id) is True
    assert outcome(wire, "delete", session_id) is False
    assert outcome(wire, "create", session_id) == (session_id, "the server's own", [], {})


def every_order(steps, length):
    """A sequence in which each sequence of this length occurs: de Bruijn's, with its beginning at its end."""
    steps, sequence, word = list(steps), [], [0] * (len(steps) * length)

    def extend(place, period):
        if place > length:
            if length % period == 0:
                sequence.extend(word[1 : period + 1])
            return
        word[place] = word[place - period]
        extend(place + 1, period)
        for step in range(word[place - period] + 1, len(steps)):
            word[place] = step
            extend(place + 1, place)

    extend(1, 1)
    return [steps[index] for index in [*sequence, *sequence[: length - 1]]]


def test_the_2_x_server_gives_the_answers_of_its_stand_in_to_any_three_steps_in_any_order(
    fake_v2, session_id
):
    with Client(fake_v2.url, password=fake_v2.password) as client:
        client.health()
        compare(SimulatedServerOfV2(), client, session_id, [*ANY, "create with all"])


def test_both_give_the_same_answers_to_any_three_steps_in_any_order(client, session_id):
    compare(SimulatedServer(), client, session_id, ANY)


ANY = ["create", "guard", "change", "get", "delete"]


class Asked:
    """A simulated server, asked as a client asks it."""

    def __init__(self, server):
        self._server = server

    def __getattr__(self, method):
        async def ask(*arguments, **options):
            asked = getattr(WirePort(self._server, "wire"), method)(*arguments, **options)
            return drive(asked, lambda call: answer(self._server, call))

        return ask


def compare(simulated, client, session_id, steps):
    walk = every_order(steps, 3)
    assert len({tuple(walk[at : at + 3]) for at in range(len(walk) - 2)}) == len(steps) ** 3
    for at, step in enumerate(walk):
        expected = outcome(Asked(simulated), step, session_id)
        assert outcome(client._core, step, session_id) == expected, (
            f"after {walk[max(0, at - 8) : at]}: {step}"
        )
