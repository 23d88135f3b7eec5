"""Reading files in a folder to which an untrusted agent writes, and only files in it.

An agent can make links, pipes and devices in its folder, and replace a file while it is being read. So a file is opened
relative to the folder's descriptor, without following links, and the open descriptor is checked before the first read:

| the path is | result |
|---|---|
| a regular file | it is read, up to the limit |
| a link, at the end or on the way | refused: by `openat2` on Linux, elsewhere by opening each part separately |
| a directory, a pipe, a socket, a device | refused; opening it does not block (`O_NONBLOCK`) |
| a file with a second name (a hard link) | refused, because the other name may be outside of the folder |
| absolute, or goes up | refused before anything is opened |

A hard link that is removed within the microseconds between opening and checking is not noticed. An agent gains nothing
by it: to make a hard link, it must be able to read the file, and could copy it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.texts import later

__all__ = ["PIECE", "Folder", "parts_of"]

PIECE = 256 * 1024
"""The most bytes of one read."""

_LONGEST_PATH = 1_024
"""In characters; every database can store this in an index."""

_FLAGS = (
    os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)
_FLAGS |= getattr(os, "O_NOCTTY", 0)
_DIRECTORY = _FLAGS | getattr(os, "O_DIRECTORY", 0)

_OPENAT2 = 437  # the number is the same on all Linux architectures
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH

_REASONS = {
    errno.ELOOP: later("it is a link, or a link is on the way to it"),
    errno.EXDEV: later("it leads out of the folder"),
    errno.ENOENT: later("it is gone"),
    errno.ENOTDIR: later("what leads to it is a link, or no folder"),
    errno.EACCES: later("it may not be read"),
    errno.EPERM: later("it may not be read"),
    errno.ENXIO: later("it is no regular file"),
    errno.ENAMETOOLONG: later("its name is too long"),
}


def parts_of(path: str, *, depth: int = 64) -> tuple[str, ...]:
    """The parts of a relative path that cannot lead out of its folder.

    Args:
        path: The path, with ``/`` between its parts.
        depth: How many parts it may have.

    Raises:
        FileRefusedError: It is empty, absolute, too long or too deep, goes up, or has a character that no name can
            have.
    """
    reason = _wrong_with(path)
    if reason is None and path.count("/") >= depth:
        reason = later("it lies more than {number} folders deep", number=depth)
    if reason is not None:
        raise FileRefusedError(path, reason)
    return tuple(path.split("/"))


def _wrong_with(path: str) -> str | None:
    if not path or path.startswith("/"):
        return later("its path is absolute") if path else later("its path is empty")
    if "\0" in path:
        return later("its name holds a zero byte")
    if any(part in ("", ".", "..") for part in path.split("/")):
        return later("its path is not plain: it has empty parts, or goes up")
    if len(path) > _LONGEST_PATH:
        return later("its path is longer than {number} characters", number=_LONGEST_PATH)
    try:
        path.encode()
    except UnicodeEncodeError:
        return later("its name is not valid Unicode")
    return None


class Folder:
    """An open folder. Its files are read relative to it, even if it is moved.

    Args:
        root: A directory that only the host controls. Links on the way to it are followed.
        name: The folder in it, which must not be a link.

    Raises:
        FileRefusedError: There is no such folder.
        ConfigurationError: This platform cannot open a file relative to a folder.
    """

    def __init__(self, root: str | os.PathLike[str], name: str) -> None:
        if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
            raise ConfigurationError(
                f"files cannot be read safely from this machine's disk ({sys.platform}): have them read through the "
                "server, with Sandbox(…, disk=False)"
            )
        parts_of(name, depth=1)
        try:
            parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FileRefusedError(name, f"its root cannot be opened: {error.strerror}") from error
        try:
            self.descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            raise _refused(name, error) from error
        finally:
            os.close(parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder. Files that are being read stay open."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def open(self, path: str) -> int:
        """Open a regular file: a descriptor, which the caller closes.

        Raises:
            FileRefusedError: It is not a regular file, or cannot be opened; `reason` says why.
        """
        parts = parts_of(path)
        try:
            descriptor = _open_beneath(self.descriptor, parts)
        except OSError as error:
            raise _refused(path, error) from error
        try:
            self._check(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, path: str, *, limit: int) -> Generator[bytes]:
        """The bytes of a regular file, in pieces.

        Raises:
            FileRefusedError: As in `open`; or it has, or grows to, more than `limit` bytes.
        """
        descriptor = self.open(path)
        try:
            left = limit
            while piece := os.read(descriptor, min(PIECE, left + 1)):
                left -= len(piece)
                if left < 0:
                    raise FileRefusedError(path, later("it is larger than {number} bytes", number=limit))
                yield piece
        except OSError as error:
            raise _refused(path, error) from error
        finally:
            os.close(descriptor)

    def list(self, parts: tuple[str, ...] = ()) -> Iterator[tuple[str, os.stat_result]]:
        """The entries of a folder in it: each name with the state of the entry itself; links are not followed.

        Raises:
            OSError: It is not a folder, is missing, or may not be read.
        """
        descriptor = self._open_folder(parts)
        try:
            with os.scandir(descriptor) as found:
                for entry in found:
                    with suppress(FileNotFoundError):
                        yield entry.name, entry.stat(follow_symlinks=False)
        finally:
            os.close(descriptor)

    def look(self, path: str) -> os.stat_result:
        """What stands at a path, itself and not what it leads to.

        Raises:
            OSError: Nothing does, or it may not be looked at.
        """
        *parts, name = path.split("/")
        descriptor = self._open_folder(tuple(parts))
        try:
            return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        finally:
            os.close(descriptor)

    def _open_folder(self, parts: tuple[str, ...]) -> int:
        return _open_beneath(self.descriptor, parts, _DIRECTORY) if parts else os.dup(self.descriptor)

    @staticmethod
    def _check(path: str, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            is_folder = stat.S_ISDIR(found.st_mode)
            kind = later("it is a folder") if is_folder else later("it is no regular file")
            raise FileRefusedError(path, kind)
        if found.st_nlink > 1:
            raise FileRefusedError(path, later("it has a second name (a hard link)"))
        os.set_blocking(descriptor, True)


def _open_beneath(folder: int, parts: tuple[str, ...], flags: int = _FLAGS) -> int:
    if _kernel.resolves:
        try:
            return _kernel.open(folder, "/".join(parts), flags)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.EAGAIN):
                raise
            if error.errno != errno.EAGAIN:  # EAGAIN means that something was just renamed
                _kernel.resolves = False
    return _open_each(folder, parts, flags)


def _open_each(folder: int, parts: tuple[str, ...], flags: int) -> int:
    """Open a path without `openat2`: one part after the other, none of them a link."""
    at = folder
    try:
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY, dir_fd=at)
            if at != folder:
                os.close(at)
            at = inner
        return os.open(parts[-1], flags, dir_fd=at)
    finally:
        if at != folder:
            os.close(at)


class _Kernel:
    """Linux's `openat2`, which Python does not have.

    Attributes:
        resolves: Whether the kernel has it, and this process may call it. Some containers forbid it.
    """

    def __init__(self) -> None:
        self.resolves = sys.platform == "linux"
        if self.resolves:
            self._call = ctypes.CDLL(None, use_errno=True).syscall
            self._call.restype = ctypes.c_long

    def open(self, folder: int, path: str, flags: int) -> int:
        how = struct.pack("QQQ", flags, 0, _RESOLVE)
        name = os.fsencode(path)
        while True:
            found: int = self._call(
                ctypes.c_long(_OPENAT2), ctypes.c_int(folder), name, how, ctypes.c_size_t(len(how))
            )
            if found >= 0:
                return found
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))


_kernel = _Kernel()


def _refused(path: str, error: OSError) -> FileRefusedError:
    return FileRefusedError(path, _REASONS.get(error.errno or 0) or f"it cannot be read: {error.strerror}")
