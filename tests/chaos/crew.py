"""The host's processes, as whoever breaks them has them: forked, killed and replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time


class Crew:
    """The program that forks, and the living processes by their slots."""

    def __init__(self):
        self._program = subprocess.Popen(
            [sys.executable, "-m", "chaos.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._lock = threading.Lock()
        self._living = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._program.stdin.close()
        self._program.wait(30)
        self._program.stdout.close()

    def fork(self, slot, task):
        """A process for the task, which has this slot until it ends."""
        self._living[slot] = task, self._order(do="fork", task=task)

    def kill(self, slot, *, replaced_after=None):
        """SIGKILL; after so many seconds another one does the same task. False if it had ended by itself."""
        if slot not in self._living:
            return False
        task, pid = self._living[slot]
        had_ended = self._order(do="ended", pid=pid)
        self._order(do="kill", pid=pid)
        del self._living[slot]
        if replaced_after is not None and not had_ended:
            time.sleep(replaced_after)
            self.fork(slot, {**task, "name": f"{task['name']}'"})
        return not had_ended

    def living(self):
        """The slots of those that have not ended."""
        for slot, (_, pid) in list(self._living.items()):
            if self._order(do="ended", pid=pid):
                self._living.pop(slot, None)
        return list(self._living)

    def _order(self, **order):
        with self._lock:
            self._program.stdin.write(json.dumps(order) + "\n")
            self._program.stdin.flush()
            line = self._program.stdout.readline()
        assert line, "the program that forks has died; its stderr says why"
        return json.loads(line)
