from __future__ import annotations

import re
import sqlite3

import pytest
from fix_cli import PATIENCE, CommandLine, terminal


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return CommandLine(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def told(place):
    """What the demo writes into a pipe."""
    done = place.run("demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_session_is_made_once_and_found_again(told):
    made, found = re.findall(r"session\.ensure\(client\) → (ses_\w+), just_created: (\w+)", told)
    assert made[0] == found[0]
    assert (made[1], found[1]) == ("yes", "no")


def test_the_second_turn_knows_the_first(told):
    [asked] = re.findall(r"^› (Please .*)$", told, re.MULTILINE)
    assert f'You asked me: "{asked}"' in told


def test_what_it_shows_of_the_rows_is_what_is_stored(place, told):
    connection = sqlite3.connect(place.folder / ".opencode-sessions" / "demo" / "demo.sqlite3")
    [(name, session_id)] = connection.execute("select name, opencode_session_id from opencode_conversations")
    turns = connection.execute("select status, input_tokens, output_tokens from opencode_messages").fetchall()
    connection.close()
    assert name == "demo-1"
    assert session_id in told
    assert [turn[0] for turn in turns] == ["completed"] * 2
    assert f"{sum(turn[1] + turn[2] for turn in turns):,} tokens, $" in told


def test_the_agent_wrote_the_file_that_it_shows(place, told):
    text = (place.folder / ".opencode-sessions" / "demo" / "work" / "demo-1.md").read_text()
    assert text.startswith("# Three days in Lisbon")
    assert text in told


def test_on_a_terminal_a_fresh_conversation_goes_on_with_who_watches(place, told):
    assert "Go on, if you like" not in told
    with terminal(place, "demo") as (process, write, wait_for):
        assert "demo-2" in wait_for("Go on, if you like")
        wait_for("› ")
        write("and now?\r")
        wait_for('Before that you said: "What did I ask you before?"')
        wait_for("› ")
        write("/quit\r")
        assert process.wait(PATIENCE) == 0
