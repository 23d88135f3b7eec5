"""Schedules that the simulator found on a server of the 2.x line, each replayed as it was."""

from __future__ import annotations

import pytest
from simulator.calls import drive
from simulator.turns.explore import TurnSubject
from simulator.turns.mutants_of_v2 import ReadsBeforeItAsks, of_v2
from simulator.turns.scenarios import BY_HAND, recover, sent
from simulator.turns.server_of_v2 import TurnServerOfV2
from simulator.turns.worker import TurnHands, as_simulated
from simulator.turns.world import TurnWorld

from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.turns import execution


class Schedule:
    """A turn whose prompt was sent by a runner that died, and the server.

    Attributes:
        row: The message's.
    """

    def __init__(self, subject=None):
        self._subject = subject or TurnSubject(server=TurnServerOfV2)
        self.world = TurnWorld(server=TurnServerOfV2)
        sent(self.world)
        self.row = self.world.messages[0].row
        self._session_id = self.world.row.session_id

    def serve(self, *steps):
        """The server's steps; a prompt is somebody else's."""
        for step in steps:
            if step == "prompt":
                run_sync(self.world.server.prompt_by_hand(self._session_id, BY_HAND))
            else:
                run_sync(getattr(self.world.server, step)(*([] if step == "die" else [self._session_id])))

    def recover(self, *meanwhile):
        """Run the turn; meanwhile, right after the first reading of its messages, the server does these steps."""
        left = [meanwhile]

        def do(call):
            if call.port == "events" and not self.world.server.mailboxes["w"][1]:
                return None
            found = self.world.do(call, by="w")
            if call.method == "messages" and left:
                self.serve(*left.pop())
            return found

        with as_simulated(self._subject.replaced):
            drive(recover(1)(TurnHands(self.world, "w", self._subject, None)), do)

    @property
    def said(self):
        """What the server has answered."""
        return self.world.server.said_to(self._session_id, self.row["opencode_prompt_id"])


@pytest.mark.parametrize("careless", [False, True], ids=["as it is", "in the other order"])
def test_a_server_that_dies_after_its_answer_was_read_goes_on_and_all_of_it_is_stored(careless):
    """The exchange was read, and then it was asked whether the session works: it had worked in between."""
    broken = of_v2(TurnSubject(replaced=((execution, "EventFollower", ReadsBeforeItAsks),)))
    schedule = Schedule(broken if careless else None)
    schedule.serve("take_up", "begin", "complete")
    schedule.recover("die", "begin", "complete", "rest")
    assert schedule.row["status"] == "completed"
    assert schedule.said == "one begun\n\none done\n\none begun\n\none done"
    assert (schedule.row["content"] == schedule.said) == (not careless)


def test_an_answer_that_the_server_broke_off_for_another_prompt_was_not_aborted():
    schedule = Schedule()
    schedule.serve("take_up", "begin", "prompt", "die", "begin", "complete", "rest")
    schedule.recover()
    assert (schedule.row["status"], schedule.row["error"]["name"]) == ("failed", "Overtaken")
    assert schedule.row["content"] == schedule.said == "one begun"
