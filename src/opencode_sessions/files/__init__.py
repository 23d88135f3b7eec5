"""The files of a turn: uploads, the agent's folder, and the artifacts that the agent makes."""

from __future__ import annotations

from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.errors import ArtifactGoneError, FileError, FileRefusedError, UploadError
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.originals import FolderOriginals, FsspecOriginals, Originals
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
from opencode_sessions.files.upload_limits import UploadLimits
from opencode_sessions.files.uploads import Upload, Uploads

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
    "FolderOriginals",
    "FolderStorage",
    "FsspecOriginals",
    "FsspecStorage",
    "Originals",
    "Sandbox",
    "Transform",
    "Upload",
    "UploadError",
    "UploadLimits",
    "Uploads",
    "Vouched",
    "remove_record",
]
