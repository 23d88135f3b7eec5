"""What uvicorn serves: the project, with its static files."""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")


class _Files(ASGIStaticFilesHandler):
    """Django's handler answers 500 to a path that leads out of the static files, such as `/static/%2e%2e/`."""

    def serve(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return super().serve(request)
        except SuspiciousFileOperation as error:
            raise Http404 from error


application = _Files(get_asgi_application())

from opencode_sessions.django.host import start  # noqa: E402 - not before Django is set up

start()  # answers that a process which died has left behind go on at once, before anyone looks
