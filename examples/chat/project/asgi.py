"""What uvicorn serves: the project, with its static files."""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = ASGIStaticFilesHandler(get_asgi_application())

from opencode_sessions.django.running import start  # noqa: E402 - not before Django is set up

start()  # answers that a process which died has left behind go on at once, before anyone looks
