"""`SANDBOX`: where agents work. The models and the settings' functions name it."""

from __future__ import annotations

from django.conf import settings

from opencode_sessions.files.ports import FolderLayout
from opencode_sessions.files.sandbox import Sandbox

__all__ = ["SANDBOX"]

SANDBOX = Sandbox(settings.CHAT_SANDBOX, layout=FolderLayout.OWN) if settings.CHAT_SANDBOX else None
"""With one, each conversation has a folder of its own, and the files that its agent makes are kept."""
