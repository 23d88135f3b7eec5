"""The memory of this machine's processes, and the process behind a port. They come from `/proc`, so only on Linux."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

__all__ = ["LocalServer", "group_memory", "local_server"]

_PROC = Path("/proc")
_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
_TOTAL = re.compile(r"^MemTotal:\s+(\d+) kB$", re.MULTILINE)
_LISTENS = "0A"
_DATABASE = "/opencode.db"


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that runs on this machine.

    Attributes:
        pid: The id of its process.
        memory: The memory that it uses, in bytes.
        machine: The memory of the machine, in bytes.
        database: The file of its database; None if none is open.
    """

    pid: int
    memory: int
    machine: int
    database: Path | None

    def database_size(self) -> int:
        """The size of the database with its journal, in bytes."""
        files = [] if self.database is None else [self.database, Path(f"{self.database}-wal")]
        return sum(file.stat().st_size for file in files if file.exists())


def group_memory(group: int) -> int | None:
    """The memory of a group's processes, in bytes; None without `/proc`, or without such a group."""
    taken = [_memory_of(process) for process in _processes() if _group_of(process) == group]
    return sum(taken) or None


def local_server(base_url: str) -> LocalServer | None:
    """The server that listens at a URL; None if it runs on another machine, or as another user."""
    url = httpx2.URL(base_url)
    if not _is_of_this_machine(url.host):
        return None
    wanted = {f"socket:[{inode}]" for inode in _listeners(url.port or (443 if url.scheme == "https" else 80))}
    for process in _processes() if wanted else ():
        with suppress(OSError):
            files = [str(file.readlink()) for file in (process / "fd").iterdir()]
            if wanted.isdisjoint(files):
                continue
            database = next((file for file in files if file.endswith(_DATABASE)), None)
            machine = _kib(_TOTAL, _PROC / "meminfo")
            return LocalServer(
                int(process.name), _memory_of(process), machine, None if database is None else Path(database)
            )
    return None


def _processes() -> Iterator[Path]:
    return _PROC.glob("[0-9]*")


def _memory_of(process: Path) -> int:
    return _kib(_RESIDENT, process / "status")


def _kib(pattern: re.Pattern[str], file: Path) -> int:
    with suppress(OSError):
        if found := pattern.search(file.read_text()):
            return int(found[1]) * 1024
    return 0


def _group_of(process: Path) -> int | None:
    with suppress(OSError):
        # The command's name, in parentheses, may contain anything.
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    return None


def _listeners(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen at a port."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENS and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]


def _is_of_this_machine(host: str) -> bool:
    """Is this an address of this machine? Only such an address can be bound."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family)) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True
