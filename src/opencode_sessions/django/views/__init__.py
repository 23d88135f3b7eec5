"""The views that show and control a turn in a browser; `opencode_sessions.django.urls` has their URLs.

For a user who may not see a message, by `OPENCODE["MAY_SEE"]`, the answer is 404, as for a message that does not exist.
"""

from __future__ import annotations

from opencode_sessions.django.views.events import events
from opencode_sessions.django.views.files import archive, changes, download, file, files, picture, preview
from opencode_sessions.django.views.retrying import RETRIED_AS, copy_of
from opencode_sessions.django.views.steering import answer, cancel, retry

__all__ = [
    "RETRIED_AS",
    "answer",
    "archive",
    "cancel",
    "changes",
    "copy_of",
    "download",
    "events",
    "file",
    "files",
    "picture",
    "preview",
    "retry",
]
