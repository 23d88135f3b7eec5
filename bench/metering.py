"""What the turns of this process cost, since a meter was made."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opencode_sessions.store.memory import MemoryMessage


@dataclass(frozen=True)
class Cost:
    """Of one turn.

    Attributes:
        cpu: In seconds.
        memory: In KiB, at the peak of all.
        writes: Of its answer, into its row.
        seconds: That those which ran at once took together.
    """

    cpu: float
    memory: float
    writes: float
    seconds: float


class Meter:
    """Begins now."""

    def __init__(self) -> None:
        self._turns = self._writes = 0
        self._memory = _kib("VmRSS")
        self._began = time.perf_counter()
        self._cpu = time.process_time()

    def count(self, text: str, messages: Sequence[MemoryMessage]) -> None:
        """These have ended, and this is to be what they say."""
        wrong = [message.row for message in messages if message.row["content"] != text]
        if wrong:
            raise RuntimeError(f"{len(wrong)} of {len(messages)} turns went wrong, the first one: {wrong[0]}")
        self._turns += len(messages)
        self._writes += sum(message.row["revision"] for message in messages)

    def cost(self, rounds: int) -> Cost:
        """What one of those that were counted cost, where so many rounds of them ran one after the other."""
        cpu = time.process_time() - self._cpu
        seconds = time.perf_counter() - self._began
        memory = _kib("VmHWM") - self._memory
        together = self._turns / rounds
        return Cost(cpu / self._turns, memory / together, self._writes / self._turns, seconds / rounds)


def _kib(name: str) -> int:
    """From `/proc`: the `resource` module tells the peak of the process that started this one, too."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status tells no {name}: the memory is measured on Linux alone")
    return int(found[1])
