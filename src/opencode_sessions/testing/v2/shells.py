"""Shell commands: processes with sessions of their own, and the events that tell of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from opencode_sessions.testing.v2.core import Core, project_of
from opencode_sessions.testing.v2.ids import new_id, now

__all__ = ["Shell", "Shells"]

Json = dict[str, Any]


class Shell:
    """One running command."""

    def __init__(self, info: Json, process: asyncio.subprocess.Process) -> None:
        self.id = str(info["id"])
        self.info = info
        self.process = process
        self.watcher: asyncio.Task[None] | None = None

    def kill(self) -> None:
        """End the command and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Shells:
    """Starts commands, and follows them to their ends."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._running: dict[str, Shell] = {}

    async def start(self, session_id: str, command: str, directory: str) -> Shell:
        """Start a command. Its output goes into a file."""
        shell = shutil.which("bash") or "/bin/sh"
        project, _ = project_of(directory)
        shell_id = new_id("sh")
        file = self._core.data / "shell" / project / f"{shell_id}.out"
        file.parent.mkdir(parents=True, exist_ok=True)
        environment = self._core.environments.get(session_id)
        with file.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                shell,
                "-c",
                command,
                cwd=directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        info = {
            "id": shell_id,
            "status": "running",
            "command": command,
            "cwd": directory,
            "shell": shell,
            "file": str(file),
            "metadata": {"sessionID": session_id},
            "time": {"started": now()},
        }
        running = self._running[shell_id] = Shell(info, process)
        self._core.bus.tell("shell.created", {"info": info}, directory=directory)
        return running

    async def wait(self, shell: Shell, timeout: float | None) -> tuple[str, int | None]:
        """Wait until a command ends. A command that takes too long, or that nobody waits for any more, is killed.

        Args:
            shell: The command.
            timeout: Seconds that it may take; None for ever.

        Returns:
            Its output, and its exit code; None if it took too long.
        """
        code: int | None = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    code = await shell.process.wait()
        except asyncio.CancelledError:
            self._remove(shell)
            raise
        if code is None:
            shell.kill()
            await shell.process.wait()
        self._running.pop(shell.id, None)
        self._tell_exit(shell, code, "exited" if code is not None else "timeout")
        return Path(shell.info["file"]).read_text(errors="replace"), code

    def close(self) -> None:
        """Kill all commands."""
        for shell in self._running.values():
            shell.kill()
        self._running.clear()

    def _remove(self, shell: Shell) -> None:
        self._running.pop(shell.id, None)
        shell.kill()
        self._core.bus.tell("shell.deleted", {"id": shell.id}, directory=shell.info["cwd"])
        shell.watcher = asyncio.create_task(self._see_out(shell))

    async def _see_out(self, shell: Shell) -> None:
        await shell.process.wait()
        self._tell_exit(shell, None, "exited")

    def _tell_exit(self, shell: Shell, code: int | None, status: str) -> None:
        data: Json = {"id": shell.id}
        if code is not None:
            data["exit"] = code
        self._core.bus.tell("shell.exited", {**data, "status": status}, directory=shell.info["cwd"])
