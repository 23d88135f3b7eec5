from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("package", ["typer", "rich", "sqlalchemy"])
def test_without_its_packages_the_command_says_what_to_install(package):
    done = run_python(
        f"import sys; sys.modules[{package!r}] = None\nfrom opencode_sessions.cli import main; main()"
    )
    assert done.returncode == 2
    assert "pip install 'opencode-sessions[cli]'" in done.stderr
    assert package in done.stderr
    assert done.stderr.count("\n") == 1


def test_any_other_package_that_is_missing_is_a_bug_and_looks_like_one():
    done = run_python(
        "import sys; sys.modules['httpx2'] = None\nfrom opencode_sessions.cli import main; main()"
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_version_is_the_package_s():
    command = [sys.executable, "-m", "opencode_sessions.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == f"opencode-sessions {version('opencode-sessions')}\n"
    assert done.returncode == 0
