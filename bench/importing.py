"""How long the package takes to import, beside the HTTP library that it needs."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

_ROUNDS = 9
_MODULES = {
    "nothing": "pass",
    "httpx2": "import httpx2",
    "opencode_sessions": "import opencode_sessions",
    "opencode_sessions.aio": "import opencode_sessions.aio",
}


def measure() -> list[tuple[str, ...]]:
    times: dict[str, list[float]] = {name: [] for name in _MODULES}
    for _ in range(_ROUNDS):
        for name, code in _MODULES.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append(time.perf_counter() - began)
    bare = median(times["nothing"])
    httpx2 = median(times["httpx2"]) - bare
    return [
        ("import", "ms", "of httpx2's"),
        *(row(name, median(took) - bare, httpx2) for name, took in times.items()),
    ]


def row(name: str, seconds: float, httpx2: float) -> tuple[str, ...]:
    return (name, f"{seconds * 1000:.0f}", f"{seconds / httpx2:.2f}")
