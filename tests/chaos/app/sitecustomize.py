"""Python imports this where a process begins: its clock is off by `CLOCK_OFFSET` seconds.

Only `time.time` is: what shifts the clock of a whole process, such as libfaketime, breaks the waits of Python's.
"""

from __future__ import annotations

import os
import time

_OFFSET = float(os.environ.get("CLOCK_OFFSET", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _OFFSET
time.time_ns = lambda: _time_ns() + round(_OFFSET * 1_000_000_000)
