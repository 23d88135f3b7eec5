"""The columns of an artifact's row and of what is due, for every database.

Keys and paths can have any length, and databases compare texts in ways of their own (some see no difference between
`a.txt` and `A.txt`). So what is unique, and what rows are found by, is a hash.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from opencode_sessions.files.ports import Artifact, Due, FileKind
from opencode_sessions.protocol.storable import storable
from opencode_sessions.store.turn_table import TurnJob

__all__ = [
    "SHORT",
    "artifact_of",
    "columns_of",
    "due_columns",
    "due_of_columns",
    "hash_of",
    "now",
    "place_of",
]

SHORT = 255
"""Characters of the columns that are shown and never searched; what is longer is cut."""

_TEXTS = ("message", "record", "path", "reason", "name", "sha256", "signature")
_SHORTENED = ("media_type", "part_id", "author")


def hash_of(*texts: str) -> str:
    """What finds these texts: 64 hex digits."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def place_of(artifact: Artifact) -> str:
    """What is unique: the message and the path."""
    return hash_of(artifact.message, artifact.path)


def now() -> int:
    """Milliseconds since 1970, by this machine's clock: when files are looked at next need not be exact."""
    return int(time.time() * 1000)


def columns_of(artifact: Artifact, stored: str) -> dict[str, Any]:
    """The row of an artifact whose bytes are called `stored`."""
    return {
        "artifact_id": artifact.id,
        "place": place_of(artifact),
        "message_hash": hash_of(artifact.message),
        "record_hash": hash_of(artifact.record),
        "history": hash_of(artifact.record, artifact.path),
        "kind": artifact.kind.value,
        "size": artifact.size,
        **{name: storable(getattr(artifact, name)) for name in _TEXTS},
        **{name: storable(getattr(artifact, name)[:SHORT]) for name in _SHORTENED},
        "stored": stored,
    }


def artifact_of(row: Mapping[Any, Any]) -> Artifact:
    """The artifact of a row."""
    return Artifact(
        id=row["artifact_id"],
        kind=FileKind(row["kind"]),
        size=row["size"],
        **{name: row[name] for name in (*_TEXTS, *_SHORTENED)},
    )


def due_columns(due: Due, look_after: float) -> dict[str, Any]:
    """The row that says that files are due."""
    return {
        "message_hash": hash_of(due.message),
        "record_hash": hash_of(due.record),
        "message": due.message,
        "record": due.record,
        "folder": due.folder,
        "job": due.job.to_fields(),
        "look_at": now() + round(look_after * 1000),
    }


def due_of_columns(row: Mapping[Any, Any]) -> Due:
    """What such a row says."""
    return Due(TurnJob.from_fields(row["job"]), row["message"], row["record"], row["folder"])
