"""Finding the `opencode` binary."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from opencode_sessions.errors import ServerNotInstalledError

__all__ = ["find_binary", "version_of"]

_REMEDY = "run `npm install opencode-ai`, or put the path of the binary into OPENCODE_BIN"


def find_binary(
    binary: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    start: str | os.PathLike[str] | None = None,
) -> Path:
    """The first of: the argument, `OPENCODE_BIN`, `PATH`, `node_modules/.bin` here or in a folder above.

    If a named binary does not exist, that is an error; no other one is used in its place.

    Args:
        binary: The path of the binary, or its name on `PATH`.
        environ: The source of `OPENCODE_BIN` and `PATH`; by default the process's environment.
        start: The folder in which the search upwards begins; by default the working directory.

    Raises:
        ServerNotInstalledError: There is no binary. The message says how to install one.
    """
    environ = os.environ if environ is None else environ
    path = environ.get("PATH", os.defpath)
    for source, named in (("binary", binary), ("OPENCODE_BIN", environ.get("OPENCODE_BIN"))):
        if named:
            found = shutil.which(named, path=path)
            if found is None:
                raise ServerNotInstalledError(
                    f"{source} names {os.fspath(named)!r}, which cannot be run: {_REMEDY}"
                )
            return Path(found).absolute()
    here = Path.cwd() if start is None else Path(start).absolute()
    for folders in (path, *_node_folders(here)):
        found = shutil.which("opencode", path=folders)
        if found is not None:
            return Path(found).absolute()
    raise ServerNotInstalledError(
        f"there is no `opencode` on PATH, nor in node_modules/.bin of {here} or a folder above it: {_REMEDY}"
    )


def version_of(binary: Path) -> str:
    """The version that a binary reports.

    Raises:
        OSError: The binary does not run.
        subprocess.SubprocessError: It fails, or does not end.
    """
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - the user's own binary
    return said.stdout.strip()


def _node_folders(here: Path) -> Iterator[str]:
    for folder in (here, *here.parents):
        yield str(folder / "node_modules" / ".bin")
