"""The columns of artifacts and of due marks, for every database.

Keys and paths can have any length, and databases compare texts differently (for some, `a.txt` and `A.txt` are equal).
So rows are unique by, and found by, a hash.
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
"""The length of columns that are shown and never searched; longer texts are cut."""

_TEXTS = ("message", "record", "path", "reason", "name", "sha256", "signature")
_SHORTENED = ("media_type", "part_id", "author")


def hash_of(*texts: str) -> str:
    """The hash of these texts: 64 hex digits."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def place_of(artifact: Artifact) -> str:
    """The hash of the message and the path, which is unique."""
    return hash_of(artifact.message, artifact.path)


def now() -> int:
    """Milliseconds since 1970, by this machine's clock, as the time of the next collection need not be exact."""
    return int(time.time() * 1000)


def columns_of(artifact: Artifact, stored: str) -> dict[str, Any]:
    """The row of an artifact; `stored` is the name of its bytes."""
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
    """The row of a due mark."""
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
    """The due mark of a row."""
    return Due(TurnJob.from_fields(row["job"]), row["message"], row["record"], row["folder"])
