"""Promises 1 to 3 with whole processes: released together, killed at random instants, and with a server that dies.

`make soak` kills in many more rounds and tells where they died. A failure says its seed: `make soak SEED=…` draws
the same rounds again, though no machine runs them in just the same order.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest
from ensuring_worker import STEPS
from fix_cli import eventually
from fix_processes import RULES, Member, Upstream
from selection import sample

from opencode_sessions import Client, SessionNotFoundError

MANY = 32
PATIENCE = 120  # seconds in which a server is back, on a busy machine
SOAKING = "SOAK_ROUNDS" in os.environ
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "20")) // 2  # on each of the databases
SERVER_DEATHS = max(2, ROUNDS // 5)  # likewise
SEED = os.environ.get("SOAK_SEED") or str(secrets.randbelow(10**6))

CALLS = {
    "ensure": ["ensure"],
    "help": ["ensure"],
    "recreate": ["ensure", "recreate"],
    "anything": ["ensure", "recreate", "delete"],
}
"""The kinds of rounds, by what the processes may call: on a new row, on one whose maker died as soon as it had
reserved an id, on one whose session is stale, and on one where anything goes."""

MAKING = {f"{where} {step}" for where in ("in", "after") for step in ("create", "guard", "confirm", "delete")}
"""The steps after which a killed process can leave a session of its own."""

PLACES = ["before all", *(f"{where} {step}" for step in STEPS for where in ("in", "after")), "survived"]


# -- released together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("conversations", sample(["sqlite", "postgres"], "sqlite"), indirect=True)
def test_processes_that_are_released_together_get_one_session(processes, conversations, server, client):
    row, upstream = conversations.add(), Upstream(client)
    ends = processes.run(server, conversations, row, [Member()] * MANY)
    with explained(conversations, row, *ends):
        named = conversations.named(row)[-1]  # an id whose maker was slow may have been superseded
        assert {end.session_id for end in ends} == {named}
        assert [end.just_created for end in ends].count(True) == 1
        assert [end.rules for end in ends] == [RULES] * MANY
        (found,) = upstream.new().values()
        assert (found.id, found.metadata["record"]) == (named, f"conversations:{row}")


@pytest.mark.full
def test_processes_that_recreate_one_stale_session_get_one_fresh_one(
    processes, conversations, server, client
):
    row, upstream = conversations.add(), Upstream(client)
    stale = conversations.session(row).ensure(client)
    ends = processes.run(server, conversations, row, [Member(call="recreate", stale=stale)] * MANY)
    with explained(conversations, row, *ends):
        (fresh,) = {end.session_id for end in ends}
        first, *_, last = conversations.named(row)
        assert (first, last) == (stale, fresh)
        assert [end.just_created for end in ends].count(True) == 1
        assert [end.rules for end in ends] == [RULES] * MANY
        assert list(upstream.new()) == [fresh]


@pytest.mark.full
def test_processes_that_ensure_while_others_recreate_get_the_old_session_or_the_fresh_one(
    processes, conversations, server, client
):
    row, upstream = conversations.add(), Upstream(client)
    stale = conversations.session(row).ensure(client)
    members = [Member(), Member(call="recreate", stale=stale)] * (MANY // 2)
    ends = processes.run(server, conversations, row, members)
    with explained(conversations, row, *ends):
        (fresh,) = {end.session_id for end in ends[1::2]}
        first, *_, last = conversations.named(row)
        assert (first, last) == (stale, fresh)
        assert {end.session_id for end in ends[::2]} <= {stale, fresh}
        assert [end.just_created for end in ends].count(True) == 1
        assert all(end.rules == RULES for end in ends if end.session_id == fresh)
        assert list(upstream.new()) == [fresh]


# -- rounds ----------------------------------------------------------------------------------------------


class Round:
    """A row, some processes that want something of it at once, and what one healthy call makes of what they leave.

    Attributes:
        members: The processes. None of them dies yet.
        ends: What became of them; to be set before `heal`.
        left: What they left behind, in a few words.
        leftovers: How many replaced sessions there still were when the row was healed.
    """

    def __init__(self, number, conversations, client):
        self.kind = list(CALLS)[number % len(CALLS)]
        self.draw = random.Random(f"{SEED} {number}")  # noqa: S311 - it keeps no secrets
        self.row = conversations.add()
        match self.kind:
            case "ensure":
                self.first = None
            case "help":
                self.first = conversations.reserve(self.row)
            case _:
                self.first = conversations.session(self.row).ensure(client)
        self.stale = self.first if self.kind == "recreate" else None
        self.members = [
            Member(call=self.draw.choice(CALLS[self.kind]), stale=self.stale)
            for _ in range(self.draw.randint(4, 8))
        ]
        self.ends, self.left, self.leftovers = [], "", 0
        self._number = number
        self._conversations = conversations
        self._client = client

    def heal(self, upstream):
        """Make the healthy call and see that all is well: one session named, ready and guarded, and no strangers."""
        self.left = left_behind(self._conversations.of(self.row), self._client)
        session = self._conversations.session(self.row)
        if self.kind == "recreate":
            session_id = session.recreate(self._client, stale=self.stale)
        else:
            session_id = session.ensure(self._client)
        found = upstream.new()
        named = self._conversations.named(self.row)
        with explained(self._conversations, self.row, self, f"new upstream: {found}"):
            assert self.left not in ("ready, not guarded", "ready, no session")
            self._check_row(session_id, named)
            self._check_upstream(session_id, named, found)
            self._check_ends(named)
            if self.kind != "anything":
                assert session.just_created + sum(end.just_created for end in self.ends) <= 1
        self.leftovers = len(found.keys() & set(named)) - 1

    def __str__(self):
        first = (
            f"round {self._number} of seed {SEED}, {self.kind}, from {self.first} on; they left: {self.left}"
        )
        return "\n".join([first, *map(str, zip(self.members, self.ends, strict=True))])

    def _check_row(self, session_id, named):
        values = self._conversations.of(self.row)
        assert values["opencode_session_id"] == session_id == named[-1]
        assert values["opencode_session_ready_at"]
        match self.kind:
            case "recreate":  # what was reserved, and never made, may have been superseded
                assert named[0] == self.stale != session_id

    def _check_upstream(self, session_id, named, found):
        assert not found.keys() - set(self._conversations.named()), "there are sessions that no row has named"
        info = found[session_id]
        assert [dict(rule) for rule in info.rules[-len(RULES) :]] == RULES
        assert info.metadata["record"] == f"conversations:{self.row}"
        if self.kind in ("ensure", "help"):
            # One that nobody needs is deleted by its maker. `prune` finds those whose maker was killed when another
            # one had superseded its id, or met a dead server, which it reports.
            undeleted = sum(said.startswith("delete_") for end in self.ends for said in end.swallowed)
            killed = sum(end.status == -signal.SIGKILL and end.step in MAKING for end in self.ends)
            assert len(found.keys() & set(named)) <= 1 + undeleted + killed

    def _check_ends(self, named):
        for member, end in zip(self.members, self.ends, strict=True):
            assert end.status in ((0,) if member.dies_after is None else (0, -signal.SIGKILL)), end
            assert end.rules in (None, RULES), end
            if end.status == 0 and not end.failures and member.call != "delete":
                assert end.session_id in named, end
            if member.patience:
                assert end.session_id or member.call == "delete", end


def left_behind(values, client):
    """What the row and the server hold, in a few words."""
    session_id = values["opencode_session_id"]
    if session_id is None:
        return "nothing named"
    named = (
        "ready" if values["opencode_session_ready_at"] else values["opencode_session_digest"] or "reserved"
    )
    try:
        guarded = client.get(session_id).rules
    except SessionNotFoundError:
        return f"{named}, no session"
    return f"{named}, guarded" if guarded else f"{named}, not guarded"


def spans_of_rounds(processes, conversations, server, client):
    """For each kind the seconds from the release until the last process has what it wanted, if nobody dies.

    The shorter of two, for the first one meets a cold server.
    """
    spans = {}
    for number in range(2 * len(CALLS)):
        this = Round(number, conversations, client)
        took = max(end.took for end in processes.run(server, conversations, this.row, this.members))
        spans[this.kind] = min(took, spans.get(this.kind, took))
    return spans


@contextmanager
def explained(conversations, row, *circumstances):
    """Whatever fails here says what it was about."""
    try:
        yield
    except BaseException as error:
        for what in (*circumstances, f"{conversations.of(row)} has named {conversations.named(row)}"):
            error.add_note(str(what))
        raise


@pytest.fixture
def tell(request, capfd):
    """Says something on the terminal, in `make soak`."""
    terminal = request.config.get_terminal_writer()

    def tell(*lines):
        if SOAKING:
            with capfd.disabled():
                for line in lines:
                    terminal.line(line)

    return tell


# -- killed ----------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.timeout(300 + 5 * ROUNDS)
def test_what_killed_processes_leave_is_finished_by_the_next_call(
    processes, conversations, server, client, tell
):
    spans = spans_of_rounds(processes, conversations, server, client)
    upstream = Upstream(client)
    deaths, left, leftovers = Counter(), Counter(), 0
    for number in range(ROUNDS):
        this = Round(number, conversations, client)
        this.members = mortal(this.members, this.draw, spans[this.kind])
        this.ends = processes.run(server, conversations, this.row, this.members)
        this.heal(upstream)
        assert not any(end.failures for end in this.ends)
        deaths.update("survived" if end.status == 0 else end.step for end in this.ends)
        left[f"{this.kind}: {this.left}"] += 1
        leftovers += this.leftovers
    assert deaths.total() > deaths["survived"]
    assert not upstream.new().keys() - set(conversations.named()), "it arrived late"
    tell(
        f"\n{ROUNDS} rounds, seed {SEED}; of {deaths.total()} processes were killed",
        *(f"{deaths[place]:6} {place}" for place in PLACES if deaths[place]),
        *(f"{span:6.2f} s of {kind} undisturbed" for kind, span in spans.items()),
        *(f"{count:6} rounds of {what}" for what, count in sorted(left.items())),
        f"{leftovers:6} replaced sessions left on the server",
    )


def mortal(members, draw, span):
    """They die at any instant of the span, or all of them early in it."""
    part = span * draw.choice([1, draw.random()])
    return [replace(member, dies_after=draw.uniform(0, part)) for member in members]


# -- with a server that dies -----------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.timeout(300 + PATIENCE * SERVER_DEATHS)
def test_a_server_that_dies_in_the_middle_and_comes_back_makes_no_second_session(
    processes, conversations, own_server, tell
):
    server = own_server()
    with Client(server.url, password=server.password) as client:
        spans = spans_of_rounds(processes, conversations, server, client)
        upstream = Upstream(client)
        met, left = Counter(), Counter()
        for number in range(SERVER_DEATHS):
            this = Round(number, conversations, client)
            this.members = in_pairs(this.members[:4])
            if number % (2 * len(CALLS)) == 0:  # of a new row
                os.kill(server.pid, signal.SIGSTOP)  # what it is sent arrives, and nothing comes of it
                processes.start(server, conversations, this.row, this.members)
                eventually(lambda row=this.row: conversations.of(row)["opencode_session_id"])
                assert not conversations.of(this.row)["opencode_session_ready_at"]
            else:
                processes.start(server, conversations, this.row, this.members)
                time.sleep(this.draw.uniform(0, spans[this.kind]))
            server.kill()
            server.restart()
            this.ends = processes.ends()
            this.heal(upstream)
            met.update(what for end in this.ends for what in (*end.failures, *end.swallowed))
            left[f"{this.kind}: {this.left}"] += 1
        assert not upstream.new().keys() - set(conversations.named()), "it arrived late"
    assert met, "no death of the server was in anybody's way"
    tell(
        f"\n{SERVER_DEATHS} deaths of the server, seed {SEED}; the processes met",
        *(f"{count:6} {what}" for what, count in met.most_common()),
        *(f"{count:6} rounds of {what}" for what, count in sorted(left.items())),
    )


def in_pairs(members):
    """Each of them twice: one gives up when the server fails, the other one tries again."""
    return [replace(member, patience=patience, timeout=2) for member in members for patience in (0, PATIENCE)]
