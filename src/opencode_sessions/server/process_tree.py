"""A process with all its descendants. They end together, also when this process is killed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from opencode_sessions.runtime.forks import renew_in_children

__all__ = ["ProcessTree"]

_MARK = "OPENCODE_SESSIONS_TREE"

# The watcher waits for a line, or for the end of its input, which comes when the process that holds
# the other end is gone, by whatever way. It kills the group, and then what has left the group: the
# commands that an agent runs are in sessions of their own, and outlive their parent, but they carry
# its environment. Several rounds, because what is about to die may still fork.
_WATCHER = """
trap '' HUP INT TERM
read -r line
kill -KILL -- -{pid}
for round in 1 2 3 4 5; do
    pids=$(grep -als {mark} /proc/[0-9]*/environ | cut -d / -f 3)
    [ -n "$pids" ] || break
    kill -KILL $pids
done
"""


class ProcessTree:
    """A command in a session of its own, whose output goes to a log.

    The tree ends with the process that started it, also after SIGKILL, and even if a forked child of that process runs
    on. Descendants in sessions of their own are found through `/proc`. Without `/proc`, as on macOS, only the command's
    group ends.

    Args:
        command: The program and its arguments.
        directory: The working directory.
        environ: The whole environment.
        log: The file for the output, which is appended.
    """

    def __init__(
        self, command: Sequence[str], *, directory: Path, environ: Mapping[str, str], log: Path
    ) -> None:
        mark = secrets.token_hex(16)
        with log.open("ab") as output:
            self._leader = subprocess.Popen(  # noqa: S603  # the host says what to run
                command,
                cwd=directory,
                env={**environ, _MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._watcher = subprocess.Popen(  # noqa: S603  # two values of our own
                ["/bin/sh", "-c", _WATCHER.format(pid=self.pid, mark=f"{_MARK}={mark}")],
                # A clean environment: inside another tree, that tree's mark would end this watcher too early.
                env={"PATH": os.defpath},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,  # a buffer has a lock, which another thread may hold when this process forks
            )
        except BaseException:
            self._signal(signal.SIGKILL)  # without a watcher, nothing would end the tree
            self._leader.wait()
            raise
        renew_in_children(self, lambda tree: tree._close_pipe())  # noqa: SLF001 - its own

    @property
    def pid(self) -> int:
        """The leader's process id, which is also its group's."""
        return self._leader.pid

    @property
    def exit_code(self) -> int | None:
        """The leader's exit code; None while it runs."""
        return self._leader.poll()

    def stop(self, *, grace: float) -> None:
        """Ask the tree to end; after `grace` seconds, or once the leader has ended, kill the rest."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._leader.wait(grace)
        self.kill()

    def kill(self) -> None:
        """Kill the tree at once, also the descendants of a leader that died by itself."""
        self._signal(signal.SIGKILL)
        with suppress(BrokenPipeError, ValueError):  # the latter in a forked child, where the pipe is closed
            self._watcher.communicate(b"\n")
        self._leader.wait()

    def _close_pipe(self) -> None:
        """In a forked child: the watcher's input ends only when no process has the other end open."""
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
            os.killpg(self.pid, number)
