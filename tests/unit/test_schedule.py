"""What a pool runs next: whatever happens, in their order, one of a record at a time, and none is forgotten."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from opencode_sessions.jobs.schedule import Schedule
from opencode_sessions.store.turn_table import TurnJob


class Attempts:
    def __init__(self, job):
        self.job = job
        self.first = None


def job(record, number):
    return TurnJob("chat.Message", str(number), "default", record)


RECORDS = st.sampled_from("ab")
PAUSES = st.sampled_from([0.0, 0.5, 3.0])


class Pool(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.schedule = Schedule(Attempts)
        self.now, self.numbers = 0.0, iter(range(1000))
        self.expected = {"a": [], "b": []}  # of each record, what is to be run, in order
        self.pauses, self.running, self.again = {}, {}, set()

    @rule(record=RECORDS)
    def add(self, record):
        new = job(record, next(self.numbers))
        assert self.schedule.begins(new) == (not self.expected[record])
        self.schedule.add(new, self.now)
        self.expected[record].append(new)

    @precondition(lambda self: any(self.expected.values()))
    @rule(data=st.data())
    def add_once_more(self, data):
        known = data.draw(st.sampled_from([each for queue in self.expected.values() for each in queue]))
        self.schedule.add(known, self.now)
        self.again.add(known)

    @rule(seconds=PAUSES)
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def take(self):
        taken = self.schedule.next(self.now)
        due = [
            record
            for record, queue in self.expected.items()
            if queue and record not in self.running and self.pauses.get(record, 0.0) <= self.now
        ]
        if taken is None:
            assert not due
            return
        record = taken.job.record
        assert record in due
        assert taken.job == self.expected[record][0]
        self.running[record] = taken
        self.again.discard(taken.job)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), pause=st.none() | PAUSES, first=st.booleans())
    def end(self, data, pause, first):
        record = data.draw(st.sampled_from(sorted(self.running)))
        attempts, queue = self.running.pop(record), self.expected[record]
        attempts.first = None
        if pause is not None and first:
            others = st.sampled_from(queue[1:]) if queue[1:] else st.just(job(record, next(self.numbers)))
            attempts.first = data.draw(others)
        self.schedule.over(attempts, pause, self.now)
        if pause is None and attempts.job not in self.again:
            queue.pop(0)
            self.pauses[record] = self.now
            return
        self.pauses[record] = self.now + (pause or 0.0)
        if attempts.first is not None:
            queue[:] = [attempts.first, *(each for each in queue if each != attempts.first)]

    @invariant()
    def knows_all(self):
        if not hasattr(self, "schedule"):
            return
        expected = [each for queue in self.expected.values() for each in queue]
        assert sorted(self.schedule.jobs, key=str) == sorted(expected, key=str)
        assert {each.job for each in self.schedule.all()} == set(expected)
        assert self.schedule.idle == (not expected)
        waiting = [record for record, queue in self.expected.items() if queue and record not in self.running]
        assert self.schedule.waiting == len(waiting)
        next_at = self.schedule.next_at()
        assert (next_at is None) == (not waiting)


TestPool = Pool.TestCase
