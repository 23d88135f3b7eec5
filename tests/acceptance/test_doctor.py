from __future__ import annotations

import contextlib
import re
import sqlite3

from fix_cli import CommandLine


def findings(done):
    """What the doctor found, as {what: (state, the rest)}."""
    assert "Traceback" not in done.stderr, done.stderr
    found, last = {}, None
    for line in done.stdout.splitlines():
        if row := re.match(r"(ok|warning|missing|broken) +(\S+) +(.*)", line):
            last = row[2]
            found[last] = (row[1], row[3].strip())
        else:
            found[last] = (found[last][0], f"{found[last][1]} {line.strip()}")
    return found


def test_all_that_is_there_is_ok(cli):
    cli.run("chat", "hello")
    done = cli.run("doctor")
    found = findings(done)
    assert done.returncode == 0
    assert {state for state, _ in found.values()} == {"ok"}
    assert list(found) == [
        "Python",
        "opencode-sessions",
        "extras",
        "drivers",
        "opencode",
        "server",
        "database",
    ]
    assert cli.environ["OPENCODE_BIN"] in found["opencode"][1].replace(" ", "")
    assert re.match(r"\d+\.\d+\.\d+ at http://127\.0\.0\.1:\d+ ", found["server"][1])
    assert "the chat's tables are there" in found["database"][1]


def test_a_server_that_nobody_asked_for_is_only_a_warning(bare):
    done = bare.run("doctor")
    found = findings(done)
    assert done.returncode == 0
    assert found["server"][0] == "warning"
    assert "serve --offline" in found["server"][1]
    assert "no file yet" in found["database"][1]
    assert list(bare.folder.iterdir()) == []  # it changes nothing


def test_what_is_missing_is_named_with_what_mends_it(tmp_path):
    broken = CommandLine(tmp_path, OPENCODE_BIN="/nowhere/opencode")
    done = broken.run(
        "doctor",
        "--server",
        "http://127.0.0.1:1",
        "--database",
        "postgresql+psycopg://u:hunter2@127.0.0.1:1/x",
    )
    found = findings(done)
    assert done.returncode == 1
    assert found["opencode"][0] == "missing"
    assert "npm install opencode-ai" in found["opencode"][1]
    assert found["server"][0] == "missing"
    assert found["database"][0] == "broken"
    assert "hunter2" not in done.stdout + done.stderr


def test_a_database_that_a_chat_could_not_use_is_broken(bare):
    nowhere = findings(bare.run("doctor", "--database", "sqlite:///nowhere/chat.sqlite3"))["database"]
    assert nowhere[0] == "broken"
    assert "no folder nowhere" in nowhere[1]
    with contextlib.closing(sqlite3.connect(bare.folder / "old.sqlite3")) as old:
        old.execute("CREATE TABLE opencode_conversations (id INTEGER PRIMARY KEY)")
        old.commit()
    done = bare.run("doctor", "--database", "sqlite:///old.sqlite3")
    outdated = findings(done)["database"]
    assert done.returncode == 1
    assert outdated[0] == "broken"
    assert "opencode_conversations.name" in outdated[1]
    assert "opencode_conversations.id" not in outdated[1]
    assert "opencode_messages" not in outdated[1]  # of which the next chat makes the whole


def test_refused_credentials_are_broken(tmp_path, served):
    locked_out = CommandLine(tmp_path, **{**served, "OPENCODE_SERVER_PASSWORD": "wrong"})
    done = locked_out.run("doctor")
    found = findings(done)
    assert done.returncode == 1
    assert found["server"][0] == "broken"
    assert "OPENCODE_SERVER_PASSWORD" in found["server"][1]
    assert "wrong" not in done.stdout
