"""Shell commands: processes with sessions of their own, and the events that tell of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from threading import Thread
from typing import Any

from opencode_sessions.testing.v2.core import Core, project_of
from opencode_sessions.testing.v2.ids import new_id, now

__all__ = ["Shell", "Shells"]

Json = dict[str, Any]


class Shell:
    """One command. A thread waits for its end, so it can outlive the loop that it was started on."""

    def __init__(self, info: Json, process: subprocess.Popen[bytes]) -> None:
        self.id = str(info["id"])
        self.info = info
        self.process = process
        self.ended = asyncio.Event()
        self.removed = False

    def kill(self) -> None:
        """End the command and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Shells:
    """Starts commands, and follows them to their ends."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._running: dict[str, Shell] = {}

    def start(self, session_id: str, command: str, directory: str) -> Shell:
        """Start a command. Its output goes into a file."""
        program = shutil.which("bash") or "/bin/sh"
        project, _ = project_of(directory)
        shell_id = new_id("sh")
        file = self._core.data / "shell" / project / f"{shell_id}.out"
        file.parent.mkdir(parents=True, exist_ok=True)
        environment = self._core.environments.get(session_id)
        with file.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  # what the agent is to run
                [program, "-c", command],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        info = {
            "id": shell_id,
            "status": "running",
            "command": command,
            "cwd": directory,
            "shell": program,
            "file": str(file),
            "metadata": {"sessionID": session_id},
            "time": {"started": now()},
        }
        shell = self._running[shell_id] = Shell(info, process)
        self._core.bus.tell("shell.created", {"info": info}, directory=directory)
        loop = asyncio.get_running_loop()
        Thread(target=self._wait, args=(shell, loop), name=f"fake-opencode-{shell_id}", daemon=True).start()
        return shell

    async def result(self, shell: Shell, timeout: float | None) -> tuple[str, int | None]:
        """Wait until a command ends. A command that takes too long, or that nobody waits for any more, is killed.

        Args:
            shell: The command.
            timeout: Seconds that it may take; None for ever.

        Returns:
            Its output, and its exit code; None if it took too long.
        """
        late = False
        try:
            async with asyncio.timeout(timeout):
                await shell.ended.wait()
        except TimeoutError:
            late = True
            shell.kill()
            await shell.ended.wait()
        except asyncio.CancelledError:
            shell.removed = True
            shell.kill()
            self._core.bus.tell("shell.deleted", {"id": shell.id}, directory=shell.info["cwd"])
            raise
        code = None if late else shell.process.returncode
        self._tell_exit(shell, code, "timeout" if late else "exited")
        return Path(shell.info["file"]).read_text(errors="replace"), code

    def close(self) -> None:
        """Kill all commands, and wait until they have ended."""
        for shell in list(self._running.values()):
            shell.removed = True
            shell.kill()
            shell.process.wait()

    def _wait(self, shell: Shell, loop: asyncio.AbstractEventLoop) -> None:
        shell.process.wait()
        self._running.pop(shell.id, None)
        with contextlib.suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(self._end, shell)

    def _end(self, shell: Shell) -> None:
        shell.ended.set()
        if shell.removed:
            self._tell_exit(shell, None, "exited")

    def _tell_exit(self, shell: Shell, code: int | None, status: str) -> None:
        data: Json = {"id": shell.id}
        if code is not None:
            data["exit"] = code
        self._core.bus.tell("shell.exited", {**data, "status": status}, directory=shell.info["cwd"])
