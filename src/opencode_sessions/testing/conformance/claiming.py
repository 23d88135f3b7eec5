"""Whose turn runs in a record: held by one at a time, until it is let go of or its lease runs out."""

from __future__ import annotations

from functools import partial
from typing import Final

from opencode_sessions.testing.conformance.bench import RecordBench

__all__ = ["Claims"]

_LEASE: Final = 3600.0
_RUN_OUT: Final = -1.0
_CALLERS: Final = 8


class Claims:
    """`claim`, `hold` and `unclaim`."""

    def test_a_claim_keeps_others_out_until_it_is_let_go_of(self, bench: RecordBench) -> None:
        store = bench.store(bench.record())
        assert bench.run(store.claim("m:1", _LEASE)) is None
        assert bench.run(store.claim("m:2", _LEASE)) == "m:1"
        assert bench.run(store.claim("m:1", _LEASE)) is None, "who has it may claim it again"
        bench.run(store.unclaim("m:2"))
        assert bench.run(store.claim("m:2", _LEASE)) == "m:1", "who has it not cannot let go of it"
        bench.run(store.unclaim("m:1"))
        assert bench.run(store.claim("m:2", _LEASE)) is None

    def test_a_claim_whose_lease_has_run_out_keeps_nobody_out(self, bench: RecordBench) -> None:
        store = bench.store(bench.record())
        assert bench.run(store.claim("m:1", _RUN_OUT)) is None
        assert bench.run(store.claim("m:2", _LEASE)) is None
        assert bench.run(store.claim("m:1", _LEASE)) == "m:2"

    def test_a_claim_is_held_longer_by_who_has_it_and_by_nobody_else(self, bench: RecordBench) -> None:
        store = bench.store(bench.record())
        assert not bench.run(store.hold("m:1", _LEASE)), "nobody has it"
        bench.run(store.claim("m:1", _RUN_OUT))
        assert bench.run(store.hold("m:1", _LEASE)), "it has run out, and nobody else has it"
        assert bench.run(store.claim("m:2", _LEASE)) == "m:1"
        assert not bench.run(store.hold("m:2", _LEASE))
        bench.run(store.unclaim("m:1"))
        assert not bench.run(store.hold("m:1", _LEASE)), "it was let go of"
        assert bench.run(store.claim("m:2", _LEASE)) is None

    def test_of_callers_who_claim_at_once_one_has_it_and_all_know_which(self, bench: RecordBench) -> None:
        record = bench.record()
        names = [f"m:{number}" for number in range(_CALLERS)]
        stores = [bench.store(record) for _ in names]
        answers = bench.at_once(
            [partial(store.claim, name, _LEASE) for store, name in zip(stores, names, strict=True)]
        )
        (winner,) = (name for name, answer in zip(names, answers, strict=True) if answer is None)
        assert {answer for answer in answers if answer is not None} == {winner}
