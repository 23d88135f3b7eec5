"""Which of several servers has a record's session: it is in the row with the session's id, and never beside another."""

from __future__ import annotations

from functools import partial

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.records import RecordState
from opencode_sessions.testing.conformance.bench import RecordBench

__all__ = ["OnServers"]


class OnServers:
    """The `server` of `reserve` and `supersede`."""

    def test_the_server_is_written_with_the_session_id(self, bench: RecordBench) -> None:
        record, a, b = bench.record(), new_session_id(), new_session_id()
        store, other = bench.store(record), bench.store(record)
        assert bench.run(store.reserve(None, a, server="one")) == RecordState(a, server="one")
        assert bench.run(other.load()) == RecordState(a, server="one")
        assert bench.run(other.reserve(None, b, server="two")) == RecordState(a, server="one"), (
            "it was too late"
        )
        assert bench.run(other.supersede(a, b, server="two")) == RecordState(b, server="two")
        assert bench.run(store.confirm(b, "digest"))
        ready = RecordState(b, ready=True, digest="digest", server="two")
        assert bench.run(store.load()) == ready
        assert bench.run(store.set_digest(b, "digest", "later"))
        assert bench.run(store.load()).server == "two"

    def test_a_write_that_says_no_server_keeps_the_one_that_the_row_names(self, bench: RecordBench) -> None:
        record, a, b = bench.record(), new_session_id(), new_session_id()
        store = bench.store(record)
        bench.run(store.reserve(None, a, server="one"))
        bench.run(store.load())
        assert bench.run(store.reserve(a, b)) == RecordState(b, server="one")
        assert bench.run(bench.store(record).load()) == RecordState(b, server="one")

    def test_a_session_that_is_gone_leaves_no_server_in_the_row(self, bench: RecordBench) -> None:
        record, a = bench.record(), new_session_id()
        store = bench.store(record)
        bench.run(store.reserve(None, a, server="one"))
        bench.run(store.mark_deleting(a))
        assert bench.run(store.load()) == RecordState(a, deleting=True, server="one")
        assert bench.run(store.clear_deleted(a))
        assert bench.run(store.load()) == RecordState()

    def test_of_callers_who_choose_different_servers_at_once_one_has_its_way(
        self, bench: RecordBench
    ) -> None:
        record = bench.record()
        wanted = {new_session_id(): f"server-{number}" for number in range(4)}
        stores = [bench.store(record) for _ in wanted]
        answers = bench.at_once(
            [
                partial(store.reserve, None, session_id, server=server)
                for store, (session_id, server) in zip(stores, wanted.items(), strict=True)
            ]
        )
        state = bench.run(bench.store(record).load())
        assert state.server == wanted.get(state.session_id)
        assert set(answers) == {state}

    def test_a_copy_shows_the_server_that_it_is_let_remember(self, bench: RecordBench) -> None:
        record = bench.record()
        store = bench.store(record)
        assert store.seen_server is None
        store.remember(RecordState(new_session_id(), ready=True, digest="digest", server="one"))
        assert store.seen_server in ("one", None), "of a record that is its own only copy, what is stored"
        store.check()
