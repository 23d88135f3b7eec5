"""Where agents work, and the files that go in and out."""

from __future__ import annotations

import os
from pathlib import Path

from database import sessions
from models import FILE_TABLES, SANDBOX

from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.files.uploads import Uploads
from opencode_sessions.sqlalchemy.artifacts import SQLAlchemyArtifactStore

KEPT = Path(os.environ.get("CHAT_FILES", "chat-files")).absolute()

# Without a sandbox, agents work where the server does: what they make is not kept, and they get pictures and PDFs only.
UPLOADS = Uploads(KEPT / "uploads", work_folder=SANDBOX or (lambda _: None))
ARTIFACTS = (
    Artifacts(SANDBOX, SQLAlchemyArtifactStore(FILE_TABLES, sessions, FolderStorage(KEPT / "artifacts")))
    if SANDBOX
    else None
)
