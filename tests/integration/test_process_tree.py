"""A tree of processes is owned from its first moment on, or there is none."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from opencode_sessions.server.process_tree import ProcessTree


def test_a_command_that_cannot_be_watched_does_not_run_on(tmp_path, monkeypatch):
    started = []

    class OneOnly(subprocess.Popen):
        def __init__(self, *arguments, **options):
            if started:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", OneOnly)
    with pytest.raises(BlockingIOError):
        ProcessTree(["sleep", "300"], directory=tmp_path, environ=os.environ, log=tmp_path / "log")
    [command] = started
    with command:
        running = command.poll() is None
        command.kill()
    assert not running
