"""The errors of files, in addition to those of `opencode_sessions.errors`.

::

    OpencodeError
    └── FileError
        ├── ArtifactGoneError    there is no such artifact, or its bytes are missing
        ├── FileRefusedError     a file in the agent's folder is not read; has the path and the reason
        └── UploadError          a person's file is not accepted, or cannot be given to the agent
"""

from __future__ import annotations

from opencode_sessions.errors import OpencodeError

__all__ = ["ArtifactGoneError", "FileError", "FileRefusedError", "UploadError"]


class FileError(OpencodeError):
    """A file of an agent or of a person cannot be used."""


class ArtifactGoneError(FileError):
    """There is no such artifact, it has no content, or its bytes are missing in the store.

    Attributes:
        artifact_id: Its id.
    """

    def __init__(self, message: str, *, artifact_id: str) -> None:
        super().__init__(message)
        self.artifact_id = artifact_id


class FileRefusedError(FileError):
    """A file in the agent's folder is not read: it is not a regular file, not in the folder, too large, or missing.

    Attributes:
        path: The given path, relative to the folder.
        reason: The reason in plain English, which the artifact repeats.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path!r} is not read: {reason}")
        self.path = path
        self.reason = reason


class UploadError(FileError):
    """A person's file is not accepted, or cannot be given to the agent. The message is for that person.

    Attributes:
        status: The HTTP status: 413 too large, 415 a type that is not accepted, 410 missing, 503 no storage.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
