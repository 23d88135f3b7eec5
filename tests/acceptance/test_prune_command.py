"""`opencode-sessions prune` as a person runs it; what docs/operating.md shows of it is what runs."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from fix_cli import CommandLine, terminal

from opencode_sessions import Client, new_session_id
from opencode_sessions.protocol.ids import mark_of

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
SCHEMA = "(id INTEGER PRIMARY KEY, opencode_session_id VARCHAR)"


class Host:
    """A host's database with two tables, and its sessions in a namespace of the test's own."""

    def __init__(self, cli, client):
        self.namespace = f"test-{uuid.uuid4()}"
        self.given = ("--namespace", self.namespace)
        self._cli = cli
        self._client = client
        self.execute(f"CREATE TABLE trips {SCHEMA}")
        self.execute(f"CREATE TABLE tickets {SCHEMA}")

    def execute(self, statement, *values):
        with closing(sqlite3.connect(self._cli.folder / "host.sqlite3")) as connection, connection:
            connection.execute(statement, values)

    def session(self, record, title="Rome"):
        table = record.partition(":")[0]
        session_id = new_session_id(mark=mark_of(self.namespace, table))
        metadata = {"namespace": self.namespace, "record": record}
        return self._client.create(session_id, title=title, metadata=metadata).id

    def prune(self, *arguments, line=None):
        return (line or self._cli).run(*self.command(*arguments))

    def command(self, *arguments):
        database = ("--database", "sqlite:///host.sqlite3")
        return ("prune", *database, *self.given, "--older-than", "0s", *arguments)


@pytest.fixture
def host(cli):
    reach = cli.environ["OPENCODE_BASE_URL"], cli.environ["OPENCODE_SERVER_PASSWORD"]
    with Client(reach[0], password=reach[1]) as client:
        yield Host(cli, client)


def listed(done):
    """The sessions that it tells of, each with the rest of its line."""
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(ses_\w+) +(.*)$", done.stdout, re.MULTILINE))


@pytest.mark.full
def test_the_chats_own_conversations_by_the_command_that_the_docs_show(cli):
    talked = cli.json("hello", "--conversation", "lost")[0]["session_id"]
    with closing(sqlite3.connect(cli.folder / "opencode-sessions.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM opencode_conversations")
    shown = re.findall(r"^\$ opencode-sessions (prune .*)$", OPERATING.read_text(), re.MULTILINE)
    (command,) = [each.split() for each in shown if "opencode_conversations" in each]
    assert listed(cli.run(*command)) == {}  # it was used today
    found = listed(cli.run(*command, "--older-than", "0s"))
    assert re.fullmatch(r"\d+ s +opencode_conversations:1 +chat: lost", found[talked])


def test_it_lists_what_no_row_names_and_deletes_it_when_it_is_told_to(host):
    kept, lost = host.session("trips:1"), host.session("trips:2")
    host.execute("INSERT INTO trips (opencode_session_id) VALUES (?)", kept)
    host.session("tickets:1")
    done = host.prune("--table", "trips")
    assert listed(done).keys() == {lost}
    assert "looked at, 1 of them without a row; --delete deletes what is listed here" in done.stdout
    assert "1 belong to other tables of this namespace" in done.stdout
    done = host.prune("--table", "trips", "--delete")
    assert listed(done).keys() == {lost}
    assert "1 of them without a row, 1 deleted" in done.stdout
    assert listed(host.prune("--table", "trips")) == {}


@pytest.mark.full
def test_without_a_namespace_it_lists_and_deletes_nothing(host):
    host.namespace, host.given = "opencode-sessions", ()
    table = f"trips_{uuid.uuid4().hex}"  # others have sessions in that namespace, of tables of the same names
    host.execute(f"CREATE TABLE {table} {SCHEMA}")
    lost = host.session(f"{table}:2")
    done = host.prune("--table", table)
    assert listed(done).keys() == {lost}
    assert "some may be another project's, so --delete wants a namespace" in done.stdout
    done = host.prune("--table", table, "--delete")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--namespace" in done.stderr
    told = json.loads(host.prune("--table", table, "--delete", "--json").stdout)
    assert (told["error"]["name"], told["leftovers"]) == ("ConfigurationError", [])
    assert listed(host.prune("--table", table)).keys() == {lost}
    host.given = ("--namespace", "opencode-sessions")
    assert "1 deleted" in host.prune("--table", table, "--delete").stdout


@pytest.mark.full
def test_json_is_one_line_with_the_same_facts(host):
    lost = {host.session(record, title=record) for record in ("trips:2", "tickets:1")}
    done = host.prune("--table", "trips", "--table", "tickets", "--delete", "--json")
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert {leftover["session_id"] for leftover in told["leftovers"]} == lost
    for leftover in told["leftovers"]:
        assert leftover["title"] == leftover["record"]
        assert leftover["created"] <= leftover["updated"]
        assert leftover["deleted"] is True
    assert told["scanned"] >= 2
    assert (told["failures"], told["error"], done.returncode) == (0, None, 0)


@pytest.mark.full
def test_on_a_terminal_it_shows_how_far_it_is(cli, host):
    lost = host.session("trips:2")
    with terminal(cli, *host.command("--table", "trips")) as (process, _, wait_for):
        wait_for("looked at, ")
        wait_for(lost)
        wait_for("without a row; --delete")
        assert process.wait(60) == 0


@pytest.mark.full
def test_a_table_that_is_not_there_is_bad_usage(host):
    done = host.prune("--table", "voyages")
    assert done.returncode == 2
    assert "host.sqlite3 has no table voyages" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_a_server_that_does_not_answer_is_a_failure_which_json_tells_too(cli, host):
    done = host.prune(
        "--table", "trips", "--server", "http://127.0.0.1:9", "--json", line=CommandLine(cli.folder)
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["name"] == "ServerUnreachableError"
    assert "no OpenCode server answers at http://127.0.0.1:9" in done.stderr


@pytest.mark.full
def test_ctrl_c_ends_it_and_says_what_was_done(cli, host):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with cli.start(*host.command("--table", "trips", "--server", address, "--json")) as process:
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(said)["leftovers"] == []
