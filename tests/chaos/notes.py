"""What processes note of themselves, a line each, in one file for all of them."""

from __future__ import annotations

import json
import os
import time
from functools import cache

from opencode_sessions import Observer


def note(what, **more):
    """A line in the file `NOTES`, of the process `WHO`."""
    line = {"at": time.monotonic(), "who": os.environ["WHO"], "what": what, **more}
    os.write(_file(os.environ["NOTES"]), json.dumps(line, default=str).encode() + b"\n")  # lines stay whole


@cache
def _file(name):
    return os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Noting(Observer):
    """Notes what happens to a turn."""

    def __init__(self, message):
        self._message = message

    def started(self, session_id, prompt_id):
        note("started", message=self._message, prompt=prompt_id)

    def recovered(self, session_id, prompt_id):
        note("recovered", message=self._message, prompt=prompt_id)

    def gap(self, reason):
        note("gap", message=self._message, reason=reason)

    def asked(self, ask):
        note("asked", message=self._message, ask=ask.id, permission=ask.permission or ask.kind)

    def finished(self, result):
        note("finished", message=self._message, status=result.status)
