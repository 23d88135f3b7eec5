"""What goes wrong with files, beside the errors of `opencode_sessions.errors`.

::

    OpencodeError
    └── FileError
        ├── ArtifactGoneError    there is no such artifact, or its bytes are gone
        ├── FileRefusedError     a file in the agent's folder is not read; carries the path and the reason
        └── UploadError          a person's file is not taken, or cannot be given to the agent
"""

from __future__ import annotations

from opencode_sessions.errors import OpencodeError

__all__ = ["ArtifactGoneError", "FileError", "FileRefusedError", "UploadError"]


class FileError(OpencodeError):
    """Something is wrong with a file that an agent made, or that a person gave."""


class ArtifactGoneError(FileError):
    """There is no such artifact, it has no content, or its bytes are gone from the store.

    Attributes:
        artifact_id: Its id.
    """

    def __init__(self, message: str, *, artifact_id: str) -> None:
        super().__init__(message)
        self.artifact_id = artifact_id


class FileRefusedError(FileError):
    """A file in the agent's folder is not read: it is no regular file, not in the folder, too large, or gone.

    Attributes:
        path: As it was given, relative to the folder.
        reason: Why, in plain English: what the artifact says that reports it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path!r} is not read: {reason}")
        self.path = path
        self.reason = reason


class UploadError(FileError):
    """A person's file is not taken, or cannot be given to the agent. The message is for that person.

    Attributes:
        status: Of the HTTP response: 413 too much, 415 a type that is not taken, 410 gone, 503 nowhere to put it.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
