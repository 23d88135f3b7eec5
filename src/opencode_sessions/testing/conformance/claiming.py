"""Whose turn runs in a record: held by one at a time, until it is let go of or its lease runs out."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest

from opencode_sessions.testing.conformance.bench import RecordBench

__all__ = ["Claims"]

_LEASE: Final = 3600.0
_RUN_OUT: Final = -1.0
_CALLERS: Final = 8
_LONG: Final = f"messages:{'/long' * 100}"


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

    def test_a_holder_is_named_in_full_however_long_its_key_is(self, bench: RecordBench) -> None:
        store = bench.store(bench.record())
        assert bench.run(store.claim(_LONG, _LEASE)) is None
        assert bench.run(store.claim("m:2", _LEASE)) == _LONG

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

    @pytest.mark.parametrize("off", [300.0, -300.0])
    def test_a_claim_goes_by_the_stores_clock_whatever_the_hosts_say(
        self, bench: RecordBench, off: float
    ) -> None:
        for first, second in ((off, 0.0), (0.0, off)):
            store = bench.store(bench.record())
            for method in (store.claim, store.hold):
                with bench.clock_off(first):
                    bench.run(method("m:1", 60.0))
                with bench.clock_off(second):
                    said = f"{method.__name__} at {first:+g} s, asked at {second:+g} s"
                    assert bench.run(store.claim("m:2", _LEASE)) == "m:1", said
            with bench.clock_off(first):
                assert bench.run(store.hold("m:1", _RUN_OUT))
            with bench.clock_off(second):
                assert bench.run(store.claim("m:2", _LEASE)) is None, "it has run out"

    def test_of_callers_who_claim_at_once_one_has_it_and_all_know_which(self, bench: RecordBench) -> None:
        record = bench.record()
        names = [f"m:{number}" for number in range(_CALLERS)]
        stores = [bench.store(record) for _ in names]
        answers = bench.at_once(
            [partial(store.claim, name, _LEASE) for store, name in zip(stores, names, strict=True)]
        )
        (winner,) = (name for name, answer in zip(names, answers, strict=True) if answer is None)
        assert {answer for answer in answers if answer is not None} == {winner}
