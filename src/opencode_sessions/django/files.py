"""The files of a message, according to the settings."""

from __future__ import annotations

from typing import Any

from django.db import models

from opencode_sessions.django.conf import settings
from opencode_sessions.files.message_files import MessageFile, MessageFiles
from opencode_sessions.host.files import FileService
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.lookup import message_store

__all__ = ["are_due", "file_of", "files_of_message", "key_of", "service"]


def service() -> FileService:
    """The files of messages, from the settings."""
    now = settings()
    store = now.artifacts.store if now.artifacts is not None else None
    return FileService(MessageFiles(now.uploads, store, suspends=False))


def files_of_message(message: models.Model) -> list[MessageFile]:
    """The files of a message: first those that were sent with it, then those that its agent made."""
    return run_sync(service().list(message, key_of(message)))


def are_due(message: models.Model) -> bool:
    """Whether its turn has ended, and its files must still be collected."""
    return run_sync(service().are_due(message, key_of(message)))


def file_of(message: models.Model, file_id: str) -> MessageFile:
    """One file of a message.

    Raises:
        Refused: The message has no file with this id.
    """
    return run_sync(service().find(message, key_of(message), file_id))


def key_of(message: Any) -> str:
    """The message's key."""
    return message_store(message, None, asynchronous=False).key
