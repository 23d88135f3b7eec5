from __future__ import annotations

import time

from opencode_sessions.protocol.events import Heartbeat, SessionChanged, SessionDeleted, SessionIdle
from opencode_sessions.wire import event_router as module
from opencode_sessions.wire.event_router import EventRouter


class Box(list):
    def put(self, item):
        self.append(item)


def born(session_id, parent_id=None):
    return SessionChanged(session_id=session_id, created=True, parent_id=parent_id, title=None)


def listening(*session_ids):
    hub, boxes = EventRouter(), []
    for session_id in session_ids:
        boxes.append(Box())
        hub.add(session_id, boxes[-1])
    return hub, *boxes


def test_an_event_goes_to_its_own_session_only():
    hub, one, two = listening("ses_1", "ses_2")
    hub.deliver(SessionIdle(session_id="ses_1"))
    assert one == [SessionIdle(session_id="ses_1")]
    assert two == []


def test_who_listens_to_all_hears_the_server_too():
    hub, one, everything = listening("ses_1", None)
    hub.deliver(Heartbeat())
    hub.deliver(SessionIdle(session_id="ses_2"))
    assert one == []
    assert everything == [Heartbeat(), SessionIdle(session_id="ses_2")]


def test_children_and_grandchildren_go_with_their_ancestors():
    hub, root, child = listening("root", "child")
    for event in (born("child", "root"), born("grandchild", "child"), SessionIdle(session_id="grandchild")):
        hub.deliver(event)
    assert [event.session_id for event in root] == ["child", "grandchild", "grandchild"]
    assert [event.session_id for event in child] == ["child", "grandchild", "grandchild"]


def test_a_circle_of_parents_ends():
    hub, one = listening("a")
    hub.deliver(born("a", "b"))
    hub.deliver(born("b", "a"))
    hub.deliver(SessionIdle(session_id="b"))
    assert SessionIdle(session_id="b") in one


def test_a_deleted_child_is_forgotten_after_its_last_event():
    hub, root = listening("root")
    hub.deliver(born("child", "root"))
    hub.deliver(SessionDeleted(session_id="child"))
    hub.deliver(SessionIdle(session_id="child"))
    assert [type(event) for event in root] == [SessionChanged, SessionDeleted]


def test_two_listeners_to_one_session_both_hear_and_leave_one_by_one():
    hub, first, second = listening("ses_1", "ses_1")
    hub.discard("ses_1", first)
    hub.deliver(SessionIdle(session_id="ses_1"))
    assert (len(first), len(second), len(hub)) == (0, 1, 1)
    hub.discard("ses_1", second)
    hub.discard("ses_1", second)
    assert len(hub) == 0


def test_a_broadcast_reaches_everybody():
    hub, one, everything = listening("ses_1", None)
    hub.broadcast(Heartbeat())
    assert one == everything == [Heartbeat()]


def test_whether_anybody_hears_a_session_is_known_before_its_event_is():
    hub, _ = listening("root")
    assert hub.hears("root")
    assert not hub.hears("child")
    hub.deliver(born("child", "root"))
    hub.deliver(born("grandchild", "child"))
    assert hub.hears("grandchild")
    assert not hub.hears("stranger")


def test_who_listens_to_all_hears_every_session():
    hub, everything = listening(None)
    assert hub.hears("ses_1")
    hub.discard(None, everything)
    assert not hub.hears("ses_1")


def test_of_many_children_those_that_were_last_heard_of_are_remembered(monkeypatch):
    monkeypatch.setattr(module, "_MOST_CHILDREN", 2)
    hub, _ = listening("root")
    for child in ("first", "second", "first", "third"):
        hub.deliver(born(child, "root"))
    assert [hub.hears(child) for child in ("first", "second", "third")] == [True, False, True]


def test_an_event_costs_the_same_however_many_listen_to_other_sessions():
    def seconds(hub):
        began = time.thread_time()
        for _ in range(2_000):
            hub.hears("ses_0")
            hub.deliver(SessionIdle(session_id="ses_0"))
        return time.thread_time() - began

    alone, *_ = listening("ses_0")
    among_many, *_ = listening(*(f"ses_{number}" for number in range(2_000)))
    lone = min(seconds(alone) for _ in range(5))
    assert min(seconds(among_many) for _ in range(5)) < 20 * lone  # a scan would cost a hundred times
