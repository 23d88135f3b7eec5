"""A server's data folder: used by one server at a time, and removed afterwards if it is temporary."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

from opencode_sessions.errors import ServerStartError
from opencode_sessions.runtime.forks import renew_in_children

__all__ = ["DataFolder"]


class DataFolder:
    """A folder with a lock that ends with the process, so that a dead process never blocks.

    Args:
        path: The folder's path, created if necessary; None for a temporary folder, which `release` removes. The folder
            gets mode 0700, because it contains conversations, logs and credentials.

    Attributes:
        path: The folder's path.

    Raises:
        ServerStartError: Another server uses the folder, or it belongs to another user.
    """

    def __init__(self, path: Path | None) -> None:
        self._temporary = path is None
        self.path = path or Path(tempfile.mkdtemp(prefix="opencode-sessions-")).absolute()
        self.path.mkdir(parents=True, exist_ok=True)
        self._keep_others_out()
        self._lock = self._take(self.path / "server.lock")
        # The lock ends when no process has the file open. Closing it in a child does not unlock it for the parent.
        renew_in_children(self, lambda folder: folder._lock.close())  # noqa: SLF001 - its own

    def release(self) -> None:
        """Release the lock; a forked child leaves it to the parent."""
        if not self._lock.closed:
            # Closing is not enough: a child that was forked without Python's hooks has the file open.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._lock.close()
        if self._temporary:
            shutil.rmtree(self.path, ignore_errors=True)

    def close_files(self) -> None:
        """Give mode 0600 to the server's files, because the folder's mode does not protect copies of them."""
        for pattern in ("*", ".local/share/opencode/*"):
            for path in self.path.glob(pattern):
                if path.is_file() and not path.is_symlink():
                    path.chmod(0o600)

    def _keep_others_out(self) -> None:
        try:
            self.path.chmod(0o700)
        except PermissionError as error:
            raise ServerStartError(
                f"the data folder {self.path} belongs to another user, who could read the conversations in it: "
                "give this server a folder of its own"
            ) from error

    def _take(self, file: Path) -> TextIO:
        lock = file.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise ServerStartError(
                f"process {holder or '(unknown)'} holds the data folder {self.path}, and two servers on one folder "
                "run every turn twice: stop its server, or give this one a folder of its own"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock
