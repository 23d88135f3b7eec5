"""The files of a turn: where its agent works, what it leaves there, and where that is kept."""

from __future__ import annotations

from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.errors import ArtifactGoneError, FileError, FileRefusedError
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.ports import (
    Artifact,
    ArtifactStore,
    FileInfo,
    FileKind,
    FolderLayout,
    Transform,
    Vouched,
)
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage, FsspecStorage
from opencode_sessions.files.tidying import remove_record

__all__ = [
    "Artifact",
    "ArtifactGoneError",
    "ArtifactStore",
    "Artifacts",
    "FileError",
    "FileInfo",
    "FileKind",
    "FileLimits",
    "FileRefusedError",
    "FolderLayout",
    "FolderStorage",
    "FsspecStorage",
    "Sandbox",
    "Transform",
    "Vouched",
    "remove_record",
]
