"""The files that go in and out. The settings name these objects."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from chat.models import Conversation
from chat.sandbox import SANDBOX
from opencode_sessions.django.artifacts.store import DjangoArtifactStore
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.uploads import Uploads

__all__ = ["ARTIFACTS", "UPLOADS"]

ARTIFACTS = Artifacts(SANDBOX, DjangoArtifactStore()) if SANDBOX else None


def work_folder(_conversation: Conversation) -> str | None:
    """The directory that all agents work in; None if it is on another machine, or nobody says which one it is."""
    directory = settings.OPENCODE["DIRECTORY"]
    return directory if directory and Path(directory).is_dir() else None


UPLOADS = Uploads(settings.STATE / "uploads", work_folder=SANDBOX or work_folder)
