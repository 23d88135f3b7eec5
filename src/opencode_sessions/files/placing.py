"""Writing a file of ours into a folder of an agent, without following links and without overwriting files."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from opencode_sessions.files.errors import UploadError

__all__ = ["place"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def place(content: BinaryIO, root: Path, path: str) -> None:
    """Write a whole file below a folder. An existing file with this name stays as it is.

    Args:
        content: The content.
        root: The folder. It may be a link, because it belongs to the host.
        path: The path relative to it, with names of ours.

    Raises:
        UploadError: The file cannot be written there.
    """
    *folders, name = PurePosixPath(path).parts
    part = f".{name}.{secrets.token_hex(4)}"  # renamed when it is complete
    try:
        with _opened(root, folders) as folder:
            if _is_there(folder, name):
                return
            try:
                with os.fdopen(os.open(part, _NEW, 0o600, dir_fd=folder), "wb") as file:
                    shutil.copyfileobj(content, file, 1024 * 1024)
                with suppress(FileExistsError):
                    os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=folder)
    except OSError as error:
        raise UploadError(
            f"{path} cannot be put into the agent's folder {root}: {error.strerror}. The process that runs turns must "
            "be able to write there",
            status=503,
        ) from error


@contextmanager
def _opened(root: Path, folders: list[str]) -> Iterator[int]:
    """Open the last of these nested folders; missing ones are created."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = [os.open(root, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        for each in folders:
            with suppress(FileExistsError):
                os.mkdir(each, 0o700, dir_fd=opened[-1])
            opened.append(os.open(each, _FOLDER, dir_fd=opened[-1]))
        yield opened[-1]
    finally:
        for each_opened in opened:
            os.close(each_opened)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
