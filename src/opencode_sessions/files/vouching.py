"""Signatures for the output of a host's transforms, which distinguish it from files of an agent."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from opencode_sessions.files.ports import Artifact

__all__ = ["is_vouched_for", "signed"]


def signed(artifact: Artifact, key: bytes) -> Artifact:
    """The artifact with the host's signature.

    Args:
        artifact: The artifact, with its `author`, `sha256` and `media_type`.
        key: The secret key, 32 bytes or more, the same in all processes.
    """
    return replace(artifact, signature=_signature(artifact, key))


def is_vouched_for(artifact: Artifact, key: bytes) -> bool:
    """Has the host signed exactly this content, with this path, for this message? A name alone proves nothing."""
    return bool(artifact.signature) and hmac.compare_digest(artifact.signature, _signature(artifact, key))


def _signature(artifact: Artifact, key: bytes) -> str:
    mac = hmac.new(key, b"opencode-sessions artifact 1", hashlib.sha256)
    for text in (
        artifact.message,
        artifact.record,
        artifact.path,
        artifact.sha256,
        artifact.media_type,
        artifact.author,
    ):
        data = text.encode("utf-8", "surrogatepass")
        mac.update(len(data).to_bytes(8, "big") + data)  # so that no two lists of fields have the same bytes
    return mac.hexdigest()
