"""Where agents work: a folder for each record, below a root that only the host decides about.

root/
    folders/conversations-42-7d0c…/    a record's folder, mode 0700
    manifests/conversations-42-7d0c…/    what was in it before a turn, for each whose files are due
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.ports import Due, FolderLayout
from opencode_sessions.files.rows import hash_of
from opencode_sessions.files.safe_open import Folder, parts_of
from opencode_sessions.protocol.permissions import Rule, allow, deny
from opencode_sessions.protocol.presets import NOT_TO_EDIT
from opencode_sessions.store.lookup import record_store
from opencode_sessions.store.record_columns import UID
from opencode_sessions.validation import require

__all__ = ["Sandbox"]

_FOLDERS, _MANIFESTS = "folders", "manifests"
_REMOVALS = 5
"""How often a folder is removed until it is gone, while an agent goes on writing there."""
_PLAIN = re.compile(r"[^a-z0-9]+")
_LONGEST_WORDS = 40
_PRIVATE = 0o700


class Sandbox:
    """The folders of all records of a host.

    ::

        SANDBOX = Sandbox("/srv/agents")

        class Conversation(RecordModel):
            @property
            def opencode_directory(self):
                return SANDBOX.directory(self)

    Args:
        root: A directory without other use. It is created, with mode 0700, if it does not exist. It must not be in a
            Git worktree, because the server would use the worktree's root for the agent.
        layout: `FolderLayout.SHARED`, or `OWN` with a directory for each record.
        on_server: The server's path of the same directory, for example in a container. It must not contain links.
        disk: Whether this process reads and writes the root itself. If not, the root is on the server's machine: create
            `root/folders` there. Files are then read through the server, and changes of a shell are not noticed.

    Raises:
        ConfigurationError: The root is relative, or in a Git worktree. Or the layout is `OWN` with `disk=False`, so
            that no process could create the directories.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        layout: FolderLayout = FolderLayout.SHARED,
        on_server: str | None = None,
        disk: bool = True,
    ) -> None:
        require(Path(root).is_absolute(), "the root of a sandbox must be an absolute path", str(root))
        self.root = Path(root).resolve() if disk else Path(root)
        self.layout = FolderLayout(layout)
        self.disk = disk
        self._server_root = (on_server or str(self.root)).rstrip("/")
        require(
            self._server_root.startswith("/") and not {"*", "?"} & set(self._server_root),
            "the root of a sandbox must be an absolute path on the server, too, and hold no * and no ?",
            self._server_root,
        )
        if disk:
            self._check_worktree()
        elif self.layout is FolderLayout.OWN:
            raise ConfigurationError(
                "a sandbox on the server's disk must have the layout SHARED: this process cannot make a directory for "
                "each record there"
            )

    def name(self, record: Any) -> str:
        """The name of a record's folder: its key in plain letters, and a unique part.

        It is derived from the record's key and its `opencode_uid`, so that rows with the same key in other schemas have
        other folders.
        """
        key = record_store(record, None, asynchronous=True).key  # this does not suspend
        return self.name_of(key, getattr(record, UID, None) or "")

    def name_of(self, key: str, uid: str) -> str:
        """See `name`; from the record's key and its `opencode_uid`."""
        unique = f"{key}\0{uid}"
        words = _PLAIN.sub("-", key.lower()).strip("-")[:_LONGEST_WORDS].strip("-")
        return f"{words or 'record'}-{hashlib.sha256(unique.encode()).hexdigest()[:16]}"

    def directory(self, record: Any) -> str:
        """The value for the record's `opencode_directory`: the server's path. Nothing is created."""
        if self.layout is FolderLayout.SHARED:
            return self.server_folders
        return self.on_server(self.name(record))

    def create(self, record: Any) -> Path:
        """Create the record's folder, unless it exists. A turn does this when it begins."""
        return self.make_folder(self.name(record))

    def rules(self, record: Any) -> Sequence[Rule]:
        """Rules to add at the end of a preset, for the layout `SHARED`. They keep the agent's file tools in its folder.

            permissions_for=lambda conversation: [*READ_WRITE, *SANDBOX.rules(conversation)]

        The agent cannot search, because rules cannot limit the place of a search. If the preset allows the shell, the
        shell reaches the folders of all records. With the layout `OWN` there are no such rules.
        """
        if self.layout is FolderLayout.OWN:
            return ()
        # Outside of Git, the server names a file relative to `/` (1.18.33), after its plugin has followed links.
        folder = self.on_server(self.name(record)).lstrip("/")
        return (
            deny("read"),
            *(allow("read", path) for path in (folder, f"{folder}/*")),
            deny("read", "*.env*"),
            deny("edit"),
            allow("edit", f"{folder}/*"),
            *NOT_TO_EDIT,
            *(deny(tool) for tool in ("list", "glob", "grep")),
        )

    def instructions(self, record: Any) -> str:
        """A text for `Turn(system=…)` with the layout `SHARED`; empty with the layout `OWN`."""
        if self.layout is FolderLayout.OWN:
            return ""
        name = self.name(record)
        return (
            f"Your folder is {name}/ in the working directory. All files that you read or write are in it: begin each "
            f"path with {name}/. You have no access to any other folder."
        )

    # By the folder's name, for the collection of files.

    @property
    def server_folders(self) -> str:
        """The server's path of the directory with all folders."""
        return f"{self._server_root}/{_FOLDERS}"

    def on_server(self, name: str) -> str:
        """The server's path of a folder."""
        return f"{self.server_folders}/{name}"

    def session_directory(self, name: str) -> str:
        """The server's path of the session's directory, for the record with this folder."""
        return self.server_folders if self.layout is FolderLayout.SHARED else self.on_server(name)

    def make_folder(self, name: str) -> Path:
        """Create a folder with this name, unless it exists.

        Raises:
            ConfigurationError: The root is in a Git worktree.
            FileRefusedError: The name is not a plain one.
        """
        parts_of(name, depth=1)
        self._check_worktree()
        for path in (self.root, self.root / _FOLDERS, self.root / _FOLDERS / name):
            path.mkdir(mode=_PRIVATE, parents=path == self.root, exist_ok=True)
        return self.root / _FOLDERS / name

    def open(self, name: str) -> Folder:
        """Open a folder with this name.

        Raises:
            FileRefusedError: There is none, or it is not a folder.
        """
        return Folder(self.root / _FOLDERS, name)

    def remove(self, name: str) -> bool:
        """Remove a folder with all its content, without following links. False if there was none."""
        parts_of(name, depth=1)
        shutil.rmtree(self.root / _MANIFESTS / name, ignore_errors=True)
        path = self.root / _FOLDERS / name
        found = os.path.lexists(path)
        for tries_left in reversed(range(_REMOVALS)):
            try:
                if path.is_symlink():
                    path.unlink()
                else:
                    shutil.rmtree(path)
            except OSError:  # an agent that is still at work added a file at this moment, or removed one
                if os.path.lexists(path) and not tries_left:
                    raise
            if not os.path.lexists(path):
                break
        return found

    def names(self, *, older_than: float = 0.0) -> Sequence[str]:
        """The names of all folders that were created or last written at least `older_than` seconds ago."""
        before = time.time() - older_than
        try:
            found = list(os.scandir(self.root / _FOLDERS))
        except FileNotFoundError:
            return ()
        return sorted(each.name for each in found if each.stat(follow_symlinks=False).st_mtime <= before)

    def manifests(self, due: Due) -> tuple[Path, Path]:
        """The paths of a turn's manifests: from before the turn, and from before the record's next turn."""
        parts_of(due.folder, depth=1)
        folder, turn = self.root / _MANIFESTS / due.folder, hash_of(due.message)[:32]
        return folder / f"{turn}.json", folder / f"{turn}-next.json"

    def _check_worktree(self) -> None:
        for place in (self.root, *self.root.resolve().parents):
            if (place / ".git").exists():
                raise ConfigurationError(
                    f"the sandbox {self.root} lies in the Git worktree {place}, whose root the server would take for "
                    "the agent's: give it a directory outside of any worktree"
                )
