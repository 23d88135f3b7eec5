from __future__ import annotations

import sys

from opencode_sessions.cli.naming import command


def test_a_command_on_the_path_is_called_by_its_name(monkeypatch, tmp_path):
    on_path = tmp_path / "opencode-sessions"
    on_path.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/elsewhere/bin/opencode-sessions"])
    assert command() == "opencode-sessions"


def test_a_command_of_a_virtual_environment_is_called_by_its_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/opencode-sessions")])
    assert command() == ".venv/bin/opencode-sessions"
    monkeypatch.setattr(sys, "argv", ["/elsewhere/bin/opencode-sessions"])
    assert command() == "/elsewhere/bin/opencode-sessions"


def test_a_module_is_called_by_the_commands_name(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", ["/elsewhere/cli/__main__.py"])
    assert command() == "opencode-sessions"
