from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from fix_cli import PATIENCE, CommandLine

CHAT = Path(__file__).parents[2] / "examples" / "chat"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return CommandLine(tmp_path_factory.mktemp("demo"))


def in_the_chat(place, *command, **environ):
    """What `make demo` and `manage.py` run."""
    environ = {**place.environ, "PYTHONPATH": str(CHAT), "CHAT_STATE": str(place.folder / "chat"), **environ}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=place.folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )


@pytest.mark.full
def test_the_chat_in_the_browser_checks_itself(place):
    done = in_the_chat(place, "-m", "demo", "--check", "--state", place.folder / "chat")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ it asked before it changed and ran something (2 asks)" in done.stdout
    assert done.stdout.endswith("all is well\n")
    connection = sqlite3.connect(place.folder / "chat" / "chat.sqlite3")
    assert connection.execute("select status from chat_message").fetchall() == [("completed",)]
    connection.close()


@pytest.mark.full
def test_the_check_of_the_chat_fails_where_there_is_no_server(place):
    done = in_the_chat(
        place, "-m", "demo", "--check", "--state", place.folder / "none", OPENCODE_BIN="/no/such/server"
    )
    assert done.returncode == 1
    assert "/no/such/server" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_the_demo_of_the_chat_prints_the_command_that_prints_another_link(place):
    command = [
        sys.executable,
        "-m",
        "demo",
        "--offline",
        "--port",
        "0",
        "--state",
        str(place.folder / "again"),
    ]
    environ = {**place.environ, "PYTHONPATH": str(CHAT), "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(command, cwd=place.folder, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        said = next(line for line in demo.stdout if "another link: " in line).partition(": ")[2]
        link = subprocess.run(said, shell=True, cwd=place.folder, capture_output=True, text=True, check=True)  # noqa: S602
        address, _, path = link.stdout.strip().partition("/enter/")
        assert said.strip().endswith(address)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
        assert path
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=PATIENCE)


def test_where_there_is_no_chat_no_link_is_made_and_it_says_what_to_do(place):
    done = in_the_chat(place, CHAT / "manage.py", "login_link", CHAT_STATE=str(place.folder / "nowhere"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"CommandError: There is no chat in {place.folder / 'nowhere'} (no such table"
    )
    assert "set CHAT_STATE" in done.stderr


def test_the_chat_s_migrations_say_what_its_models_say(place):
    done = in_the_chat(place, CHAT / "manage.py", "makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
