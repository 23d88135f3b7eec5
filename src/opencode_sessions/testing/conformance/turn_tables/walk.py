"""Random walks of one record's turns through all their states, beside a small model of what a table does with them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from opencode_sessions.store.turn_table import Place
from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Walk", "Walks"]

_TURNS: Final = 4
_WALKS: Final = 8
_STEPS: Final = 20

_OFTEN: Final = ("put_behind", "put_behind", "resume_next", "take")
"""Steps that lead to where others do something."""


class Walks(Staged):
    """What one call after the other makes of several turns."""

    def test_turns_wander_as_a_model_of_them_does(self, stage: Stage) -> None:
        """The draw is always the same."""
        draw = random.Random("turns of one record")  # noqa: S311 - it keeps no secrets
        for _ in range(_WALKS):
            Walk(stage, draw).run(_STEPS)


_PREFIX: Final = "_step_"


@dataclass(eq=False)
class _Turn:
    """What the row of a message says, and no more.

    Attributes:
        message: Its name.
        number: Its place among the keys.
        status: `pending`, `streaming` or `ended`.
        lease: How long it holds, in seconds; None if there is none.
        place: Among those of its record; 0 if it was never reserved.
        parked: As the column.
    """

    message: Any
    number: int
    status: str = "pending"
    lease: float | None = None
    place: int = 0
    parked: bool = False

    @property
    def is_behind(self) -> bool:
        return self.status == "pending" and self.lease is None and self.place > 0

    @property
    def waits_for_place(self) -> bool:
        return self.status == "pending" and self.parked

    @property
    def is_run(self) -> bool:
        """Also of one that waits for a place: it is not to be run before it is resumed."""
        return (self.status == "streaming" or self.waits_for_place) and self.lease == LIVE

    @property
    def is_abandoned(self) -> bool:
        return self.lease == OUT and self.status != "ended"

    @property
    def rank(self) -> tuple[int, int]:
        return self.place, self.number


class Walk:
    """One record, its turns, and a step at a time.

    Args:
        stage: Where they are.
        draw: Which steps are taken.
    """

    def __init__(self, stage: Stage, draw: random.Random) -> None:
        self._stage = stage
        self._draw = draw
        record = stage.bench.record()
        self._turns = [
            _Turn(message, number) for number, message in enumerate(stage.messages(_TURNS, record))
        ]
        self._story: list[str] = []

    def run(self, steps: int) -> None:
        """So many steps, after all but one turn were reserved, and one has begun."""
        first, *others = self._draw.sample(self._turns, _TURNS - 1)
        for turn in (first, *others):
            self._step("reserve", turn, LIVE)
        self._step("take", first, LIVE)
        names = [name.removeprefix(_PREFIX) for name in dir(self) if name.startswith(_PREFIX)]
        for _ in range(steps):
            self._step(self._draw.choice([*names, *_OFTEN]), self._draw.choice(self._turns), self._seconds())
            self._look(self._draw.choice(self._turns))

    def _step(self, name: str, turn: _Turn, lease: float) -> None:
        self._story.append(f"{name} {turn.number} {lease:g}")
        getattr(self, f"{_PREFIX}{name}")(turn, lease)

    def _look(self, turn: _Turn) -> None:
        """What comes before a turn that has not begun."""
        if turn.status == "pending":
            ahead = self._ahead(turn)
            expected = None if ahead is None else (ahead.message, ahead.is_run)
            self._expect(self._stage.ahead_of(turn.message), expected, f"ahead of {turn.number}")

    def _step_reserve(self, turn: _Turn, lease: float) -> None:
        self._stage.reserve(turn.message, lease)
        if turn.status == "pending":
            turn.place = turn.place or 1 + max(each.place for each in self._turns)
            turn.lease, turn.parked = lease, False

    def _step_renew(self, turn: _Turn, lease: float) -> None:
        some = self._some(turn)
        self._stage.renew(*(each.message for each in some), seconds=lease)
        for each in some:
            if each.status == "pending" and each.lease == LIVE:
                each.lease = lease

    def _step_release(self, turn: _Turn, _: float) -> None:
        some = self._some(turn)
        self._stage.release(*(each.message for each in some))
        for each in some:
            reserved = each.status == "pending" or (each.status == "streaming" and each.parked)
            if reserved and each.lease is not None:
                each.lease = OUT

    def _step_find_abandoned(self, _: _Turn, lease: float) -> None:
        own = {each.message for each in self._turns}
        found = [message for message in self._stage.abandoned(lease) if message in own]
        left = [each for each in self._turns if each.is_abandoned]
        free = not any(each.status == "streaming" or each.waits_for_place for each in self._turns)
        parked = sorted((each for each in self._turns if free and each.is_behind), key=lambda each: each.rank)
        self._expect(found[: len(left)], [each.message for each in left], "abandoned")
        rest = found[len(left) :]
        # Those behind the first one may be found with it, or by the end of it.
        self._expect(rest, [each.message for each in parked][: max(len(rest), min(1, len(parked)))], "parked")
        for each in self._turns:
            if each.message in found and each.status == "pending":
                each.lease, each.parked = lease, False

    def _step_put_behind(self, turn: _Turn, lease: float) -> None:
        if turn.status == "streaming":
            return
        ahead = self._ahead(turn)
        waits = turn.status == "pending" and turn.place > 0
        parked = waits and ahead is not None and ahead.is_run
        self._expect(self._stage.put_behind(turn.message, lease), parked, "put_behind")
        if waits:
            turn.lease, turn.parked = None if parked else lease, False

    def _step_wait_for_place(self, turn: _Turn, lease: float) -> None:
        parks = turn.status == "pending" and (not turn.parked or turn.lease == OUT)
        self._expect(self._stage.wait_for_place(turn.message, lease), not parks, "wait_for_place")
        if parks:
            turn.lease, turn.parked = lease, True

    def _step_resume_waiting(self, turn: _Turn, lease: float) -> None:
        waiting = [each for each in self._turns if each.waits_for_place]
        place = Place(of=self._stage.bench.same_record(self._stage.bench.copy(turn.message)))
        found = self._stage.resume_waiting(place, lease)
        self._expect(found in [each.message for each in waiting], bool(waiting), "resume_waiting")
        for each in waiting:
            if each.message == found:
                each.lease, each.parked = lease, False

    def _step_resume(self, turn: _Turn, lease: float) -> None:
        waits = turn.status == "streaming" and turn.parked
        self._expect(self._stage.resume(turn.message, lease), turn.message if waits else None, "resume")
        if waits:
            turn.lease = lease

    def _step_resume_next(self, turn: _Turn, lease: float) -> None:
        parked = sorted((each for each in self._turns if each.is_behind), key=lambda each: each.rank)
        free = not any(each.status == "streaming" or each.waits_for_place for each in self._turns)
        expected = parked[0] if parked and free else None
        found = self._stage.resume_next(turn.message, lease)
        self._expect(found, None if expected is None else expected.message, "resume_next")
        if expected is not None:
            expected.lease = lease

    def _step_take(self, turn: _Turn, lease: float) -> None:
        others = any(each.status == "streaming" for each in self._turns if each is not turn)
        if turn.status != "ended" and not others:  # a record is of one turn at a time
            self._stage.take(turn.message, lease)
            turn.status, turn.lease, turn.parked = "streaming", lease, False

    def _step_ask(self, turn: _Turn, lease: float) -> None:
        if turn.status == "streaming":
            self._stage.ask(turn.message, lease)
            turn.lease, turn.parked = lease, True

    def _step_end(self, turn: _Turn, _: float) -> None:
        if turn.status == "streaming":
            self._stage.end(turn.message)
            turn.status, turn.lease = "ended", None

    def _ahead(self, turn: _Turn) -> _Turn | None:
        begun = [each for each in self._turns if each.status == "streaming"]
        earlier = [
            each
            for each in self._turns
            if each.status == "pending"
            and (each.lease is not None or each.place > 0)
            and each.rank < turn.rank
        ]
        return min(begun or earlier, default=None, key=lambda each: each.rank)

    def _some(self, turn: _Turn) -> list[_Turn]:
        return [turn, *(each for each in self._turns if each is not turn and self._draw.random() < 0.5)]  # noqa: PLR2004 - half

    def _seconds(self) -> float:
        return self._draw.choice([LIVE, LIVE, LIVE, OUT])

    def _expect(self, found: Any, expected: Any, what: str) -> None:
        assert found == expected, f"{what}: {found}, not {expected}, after {', '.join(self._story)}"
