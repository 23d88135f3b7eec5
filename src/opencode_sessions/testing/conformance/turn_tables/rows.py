"""What names a message, what is found of it, and what those see who watch it."""

from __future__ import annotations

import pickle
from dataclasses import astuple, replace
from typing import Any, Final

import pytest

from opencode_sessions.errors import ConfigurationError, RecordNotSavedError, WrongRowError
from opencode_sessions.store.messages import MessageState
from opencode_sessions.store.turn_table import Place, RowKey, TurnJob, always
from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Rows"]

_ANSWER: Final = MessageState(
    "?",
    content="Grüße, 日本語",
    parts=({"type": "text", "text": "Grüße", "nested": [1, {"a": None}]},),
    asks=({"id": "per_1", "kind": "permission"},),
    error={"name": "X"},
    cost=1.0123456789,
    input_tokens=120,
    output_tokens=7,
    revision=3,
)

_MANY: Final = 20


class Rows(Staged):
    """`job_of`, `find`, `store`, `key_of`, `heads` and `row`; and what is held after any call."""

    def test_a_job_names_its_row_and_record_wherever_it_is_made(self, stage: Stage) -> None:
        record = stage.bench.record()
        first, second, other = stage.message(record), stage.message(record), stage.message()
        job = stage.job(first)
        assert job == stage.job(first)
        assert job == stage.bench.table().job_of(stage.bench.copy(first))
        assert {type(each) for each in astuple(job)} == {str}
        assert job.uid
        assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301 - our own
        assert job != stage.job(second)
        assert job.record == stage.job(second).record
        assert job.record != stage.job(other).record

    def test_what_has_no_row_yet_has_no_name(self, stage: Stage) -> None:
        unsaved = stage.bench.unsaved(stage.bench.record())
        for name_of in (stage.table.job_of, stage.rows.key_of):
            with pytest.raises(RecordNotSavedError):
                name_of(unsaved)

    def test_an_instance_of_another_model_is_refused(self, stage: Stage) -> None:
        for stranger in stage.bench.strangers():
            with pytest.raises(ConfigurationError):
                stage.table.job_of(stranger)

    def test_what_is_found_is_fresh_and_its_store_is_that_of_its_row(self, stage: Stage) -> None:
        message = stage.message()
        job, run = stage.job(message), stage.bench.run
        with stage.table.inside(job.tenant):
            store = stage.table.store(job, run(stage.table.find(job)))
            seen = run(store.load())
            assert run(store.take(seen, LIVE))
            assert run(store.snapshot(1, replace(_ANSWER, prompt=seen.prompt), LIVE))
            again = run(stage.table.find(job))
            other = stage.table.store(job, again)
        assert other.key == store.key
        assert run(other.load()) == run(store.load())
        other.check()  # which refuses an open transaction
        assert stage.table.job_of(again) == job, "what was found has the same job"

    def test_a_row_that_vanished_is_not_found(self, stage: Stage) -> None:
        message = stage.message()
        job, key = stage.job(message), stage.rows.key_of(stage.bench.copy(message))
        stage.bench.delete(message)
        assert stage.bench.run(stage.table.find(job)) is None
        assert stage.bench.run(stage.rows.row(key)) is None
        assert stage.bench.run(stage.rows.heads([key])) == {}
        stage.bench.run(stage.table.renew([job], LIVE))
        stage.bench.run(stage.table.release([job]))

    def test_another_row_under_the_same_key_is_refused(self, stage: Stage) -> None:
        message = stage.message()
        job = stage.job(message)
        stage.bench.replace(message)
        with pytest.raises(WrongRowError):
            stage.bench.run(stage.table.find(job))
        assert stage.bench.run(stage.table.find(replace(job, uid=""))) is not None, (
            "a job without one says nothing"
        )
        assert stage.found(message) is not None, "a new job finds the new row"

    def test_a_head_changes_whenever_the_row_does(self, stage: Stage) -> None:
        message = stage.message()
        key, run, seen = _key(stage, message), stage.bench.run, []

        def look() -> None:
            (head,) = run(stage.rows.heads([key])).values()
            assert head not in seen
            seen.append(head)

        look()
        assert seen == [("pending", 0)]
        store = stage.store(message)
        state = run(store.load())
        assert run(store.take(state, LIVE))
        look()
        for revision in (1, 2):
            assert run(store.snapshot(1, replace(_ANSWER, revision=revision), LIVE))
            look()
        stage.end(message)
        look()
        assert seen[-1] == ("completed", 3)

    def test_heads_are_of_those_that_are_there(self, stage: Stage) -> None:
        messages = [stage.message() for _ in range(3)]
        keys = [_key(stage, message) for message in messages]
        stage.take(messages[1])
        stage.bench.delete(messages[2])
        found = stage.bench.run(stage.rows.heads(keys))
        assert found == {keys[0]: ("pending", 0), keys[1]: ("streaming", 0)}
        assert stage.bench.run(stage.rows.heads([])) == {}

    def test_many_heads_are_one_query(self, stage: Stage) -> None:
        keys = [_key(stage, stage.message()) for _ in range(_MANY)]
        assert stage.counted(lambda: stage.rows.heads(keys)) == 1

    def test_turns_are_counted_by_their_state(self, stage: Stage) -> None:
        before = stage.bench.run(stage.table.counts())
        record = stage.bench.record()
        asked = stage.ask(stage.take(stage.reserved(record)))
        stage.parked(record)
        for _ in range(2):
            stage.reserved()
        for _ in range(3):
            stage.take(stage.reserved())
        for _ in range(2):
            stage.take(stage.reserved(), OUT)
        stage.reserved(seconds=OUT)
        stage.message()
        stage.end(stage.take(stage.reserved()))
        after = stage.bench.run(stage.table.counts())
        assert [now - then for now, then in zip(after, before, strict=True)] == [3, 3, 1, 3]
        stage.end(asked)
        assert stage.bench.run(stage.table.counts()).asking == before.asking

    def test_a_row_is_what_is_shown_of_it_as_it_is_committed(self, stage: Stage) -> None:
        message = stage.message()
        key, run, store = _key(stage, message), stage.bench.run, stage.store(message)
        row = run(stage.rows.row(key))
        assert (row.status, row.content, row.parts, row.asks, row.error) == ("pending", "", [], [], None)
        assert run(store.take(run(store.load()), LIVE))
        assert run(store.set_prompt_target(1, "ses_1", prompt_id := f"msg_{_unique(stage, message)}"))
        assert run(store.snapshot(1, _ANSWER, LIVE))
        row = run(stage.rows.row(key))
        assert (row.status, row.revision, row.opencode_prompt_id) == ("streaming", 3, prompt_id)
        assert (row.content, row.error) == (_ANSWER.content, _ANSWER.error)
        assert (row.parts, row.asks) == (list(_ANSWER.parts), list(_ANSWER.asks))
        assert (row.cost, row.input_tokens, row.output_tokens) == (1.0123456789, 120, 7)
        assert type(row.status) is str

    def test_a_key_is_the_same_for_all_who_watch(self, stage: Stage) -> None:
        message = stage.message()
        key = _key(stage, message)
        assert isinstance(key, RowKey)
        assert key == stage.bench.rows().key_of(stage.bench.copy(message))
        assert key != _key(stage, stage.message())
        assert {type(each) for each in astuple(key)} == {str}

    def test_what_passes_is_told_from_what_does_not(self, stage: Stage) -> None:
        for bug in (ValueError(), KeyError("x"), ConfigurationError("x"), WrongRowError("x", record="x")):
            assert not stage.table.is_transient(bug), bug
            assert not stage.rows.is_transient(bug), bug
        for error in stage.bench.failures():
            assert stage.table.is_transient(error), error
            assert stage.rows.is_transient(error), error

    def test_nothing_is_held_after_any_call(self, stage: Stage) -> None:
        record = stage.bench.record()
        running, waiting, asking = stage.take(stage.reserved(record)), stage.reserved(record), stage.message()
        stage.ask(stage.take(asking))
        job, key, found = stage.job(waiting), _key(stage, waiting), stage.found(waiting)
        copies = [stage.bench.copy(each) for each in (asking, running)]
        place = Place(of=stage.bench.same_record(copies[1]))
        table, rows = stage.table, stage.rows
        calls: dict[str, Any] = {
            "find": lambda: table.find(job),
            "renew": lambda: table.renew([job], LIVE),
            "ahead_of": lambda: table.ahead_of(job, found),
            "put_behind": lambda: table.put_behind(job, found, LIVE),
            "wait_for_place": lambda: table.wait_for_place(job, LIVE),
            "resume_waiting": lambda: table.resume_waiting(copies[0], place, LIVE, always),
            "resume": lambda: table.resume(copies[0], LIVE),
            "resume_next": lambda: table.resume_next(copies[1], LIVE),
            "release": lambda: table.release([job]),
            "abandoned": lambda: table.abandoned(reserve_for=OUT),
            "heads": lambda: rows.heads([key]),
            "row": lambda: rows.row(key),
        }
        assert stage.bench.idle(), "before any call"
        for name, call in calls.items():
            stage.bench.run(call())
            assert stage.bench.idle(), f"after {name}"

    def test_a_thread_that_gave_its_connections_back_goes_on(self, stage: Stage) -> None:
        message = stage.message()
        for each in (stage.table, stage.rows):
            each.give_back()
            assert stage.found(message) is not None


def _key(stage: Stage, message: Any) -> RowKey:
    key: RowKey = stage.rows.key_of(stage.bench.copy(message))
    return key


def _unique(stage: Stage, message: Any) -> str:
    job: TurnJob = stage.job(message)
    return job.uid
