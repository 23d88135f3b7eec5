from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fix_cli import PATIENCE, CommandLine, eventually, read_until
from fix_stores import sqlalchemy_urls
from host_models import Base, Prompt
from scripted_server import ScriptedServer, response
from selection import sample
from sqlalchemy import create_engine, delete, func, insert, update
from sqlalchemy.orm import Session as Database

from opencode_sessions import Client


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
    done = cli.run("doctor", "--project-config")
    found = findings(done)
    assert done.returncode == 0
    # The server is shared: what another test has left busy is none of this one's.
    assert {state for what, (state, _) in found.items() if what != "busy"} == {"ok"}
    assert list(found) == [
        "Python",
        "opencode-sessions",
        "extras",
        "drivers",
        "opencode",
        "server",
        "clocks",
        "guard",
        "busy",
        "memory",
        "project",
        "database",
    ]
    assert cli.environ["OPENCODE_BIN"] in found["opencode"][1].replace(" ", "")
    assert re.match(r"\d+\.\d+\.\d+ at http://127\.0\.0\.1:\d+ ", found["server"][1])
    assert "the chat's tables are there" in found["database"][1]


@pytest.mark.full
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


@pytest.mark.full
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


@pytest.mark.parametrize("command", sample(["doctor", "chat hello", "prune -t opencode_conversations"]))
def test_a_server_that_hangs_is_waited_for_with_a_word(cli, silent_port, command):
    if command.startswith("prune"):
        cli.run("chat", "hello")
    address = f"http://127.0.0.1:{silent_port}"
    with cli.start(*command.split(), "--server", address) as process:
        read_until(process, f"waiting for an answer from {address} …", stream="stderr")


@pytest.mark.full
def test_a_server_that_hangs_is_broken_and_named_soon(cli, silent_port):
    address = f"http://127.0.0.1:{silent_port}"
    with cli.start("doctor", "--server", address) as process:
        read_until(process, f"waiting for an answer from {address} …", stream="stderr")  # after 2 s
        began = time.monotonic()
        output, _ = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - began < 32  # 13 s, and what a busy machine adds
    state, said = findings(subprocess.CompletedProcess([], process.returncode, output, ""))["server"]
    assert (process.returncode, state) == (1, "broken")
    assert "The server accepts connections, but it is overloaded or hangs" in said


@pytest.mark.full
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("http://localhost:{tls_server.port}", "write https:// instead of http://"),
        *(
            pytest.param(place, said, marks=pytest.mark.full)
            for place, said in [
                ("https://localhost:{tls_server.port}", "self-signed certificate"),
                ("http://nowhere.invalid", "the name nowhere.invalid does not resolve"),
            ]
        ),
    ],
)
def test_an_address_that_cannot_work_is_told_by_doctor_and_chat_alike(bare, tls_server, place, said):
    address = place.format(tls_server=tls_server)
    state, found = findings(bare.run("doctor", "--server", address))["server"]
    assert state == "broken"
    assert said in found
    done = bare.run("chat", "hello", "--server", address)
    assert done.returncode == 1
    assert said in done.stderr
    assert "serve --offline" not in done.stderr  # which would not mend it


@pytest.mark.full
def test_a_session_that_is_busy_without_a_turn_is_a_warning(cli):
    environ = cli.environ
    with Client(environ["OPENCODE_BASE_URL"], password=environ["OPENCODE_SERVER_PASSWORD"]) as client:
        session_id = client.create(title="left behind").id
        client.prompt(session_id, "!slow 600\n!say x")
        eventually(lambda: client.busy(session_id))
        done = cli.run("doctor")
        client.stop(session_id)
    state, said = findings(done)["busy"]
    assert (done.returncode, state) == (0, "warning")
    assert session_id in said.replace(" ", "")
    assert "Client.stop(session_id)" in said


@pytest.mark.full
def test_turns_of_a_table_of_the_hosts_own_are_no_strays(cli, tmp_path):
    environ, database = cli.environ, f"sqlite:///{tmp_path}/shop.sqlite3"
    engine = create_engine(database)
    Base.metadata.create_all(engine)
    with Client(environ["OPENCODE_BASE_URL"], password=environ["OPENCODE_SERVER_PASSWORD"]) as client:
        session_id = client.create(title="in the shop").id
        client.prompt(session_id, "!slow 600\n!say x")
        eventually(lambda: client.busy(session_id))
        stray = cli.run("doctor", "--database", database)
        in_an_hour = func.datetime("now", "+1 hour")
        with engine.begin() as connection:
            row = {"prompt": "x", "status": "streaming", "opencode_prompt_session_id": session_id}
            connection.execute(insert(Prompt).values(**row, opencode_turn_lease=in_an_hour))
        known = cli.run("doctor", "--database", database)
        client.stop(session_id)
    engine.dispose()
    assert session_id in stray.stdout.replace(" ", "").replace("\n", "")
    assert session_id not in known.stdout.replace(" ", "").replace("\n", "")
    assert "turns in answers, prompts" in findings(known)["database"][1]


@pytest.mark.parametrize("database", sample(["sqlite", "postgres"]))
def test_turns_that_have_not_ended_are_counted_and_named_by_their_state(request, cli, database):
    url = sqlalchemy_urls(request.getfixturevalue, database)[0]
    engine = create_engine(url)
    streaming, asking = {"status": "streaming"}, {"status": "streaming", "asks": [{"id": "per_1"}]}
    parked = {"opencode_turn_parked": True}
    with Database(engine) as rows, rows.begin():
        rows.execute(delete(Prompt))
        turns = [
            *[Prompt(prompt="it runs", **streaming) for _ in range(7)],
            Prompt(prompt="it waits for a person", **asking, **parked),
            Prompt(prompt="it waits for a limit", **parked),
            Prompt(prompt="a draft"),
        ]
        for turn in turns[:-1]:
            turn.opencode_turn_lease = datetime.now(UTC) + timedelta(hours=1)
        rows.add_all(turns)
        rows.flush()
        keys = [turn.id for turn in turns]
    first = ", ".join(map(str, keys[:5]))
    expected = (
        f"10 turns, 7 run ({first}, …), 1 wait for an answer ({keys[7]}), 1 wait for a place ({keys[8]})"
    )
    assert findings(cli.run("doctor", "--database", url))["prompts"] == ("ok", expected)
    with Database(engine) as rows, rows.begin():
        rows.execute(update(Prompt).where(Prompt.id == keys[6]).values(opencode_turn_lease=None))
    done = cli.run("doctor", "--database", url)
    engine.dispose()
    state, said = findings(done)["prompts"]
    assert (done.returncode, state) == (0, "warning")
    assert f"6 run ({first}, …)" in said
    assert f"1 abandoned ({keys[6]})" in said
    assert "recover MODULE:HOST" in said


@pytest.mark.full
def test_refused_credentials_are_broken(tmp_path, served):
    locked_out = CommandLine(tmp_path, **{**served, "OPENCODE_SERVER_PASSWORD": "wrong"})
    done = locked_out.run("doctor")
    found = findings(done)
    assert done.returncode == 1
    assert found["server"][0] == "broken"
    assert "OPENCODE_SERVER_PASSWORD" in found["server"][1]
    assert "wrong" not in done.stdout


@pytest.mark.parametrize(
    ("command", "url"),
    [
        ("doctor", "admin:p@ss/hunter2@host:4096"),
        pytest.param("doctor", "http://[::1?password=hunter2", marks=pytest.mark.full),
        pytest.param("chat hello", "http://admin:hunter2", marks=pytest.mark.full),
    ],
)
@pytest.mark.full
def test_a_url_that_holds_a_password_is_refused_without_it(tmp_path, command, url):
    by_environment = CommandLine(tmp_path, OPENCODE_BASE_URL=url).run("-v", *command.split())
    by_option = CommandLine(tmp_path).run("-v", *command.split(), "--server", url)
    for done in (by_environment, by_option):
        assert done.returncode in (1, 2)
        assert "the URL of the server" in (done.stdout + done.stderr).replace("\n", " ")
        assert not re.search("hunter|p@ss", done.stdout + done.stderr)


@pytest.mark.full
def test_a_server_that_sends_the_credentials_back_does_not_have_them_printed(tmp_path):
    def echo(connection, head):
        said = re.search(rb"(?i)authorization: (.*)\r", head)[1]
        connection.sendall(response(b'{"message": "\\u001b[2J%s hunter2"}' % said, status="418 Teapot"))

    with ScriptedServer(echo) as server:
        done = CommandLine(tmp_path, OPENCODE_SERVER_PASSWORD="hunter2").run("-v", "doctor", "-s", server.url)
    said = findings(done)["server"]
    assert said[0] == "broken"
    assert "418: \ufffd[2JBasic *** ***" in said[1]
    assert "b3BlbmNvZGU6aHVudGVyMg" not in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr


SHOP = """
from host_models import Prompt
from sqlalchemy import create_engine

from opencode_sessions.host import Host, HostSettings, Server
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable

servers = {"a": Server(url="URL", turns=3), "gone": Server(url="http://127.0.0.1:1", draining=True)}
opencode = Host(HostSettings(servers=servers), [SQLAlchemyTurnTable(Prompt, create_engine("sqlite:///host.sqlite3"))])
"""


@pytest.mark.full
def test_all_servers_of_a_host_are_looked_at(cli):
    (cli.folder / "shop.py").write_text(SHOP.replace("URL", cli.environ["OPENCODE_BASE_URL"]))
    cli.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "fixtures")
    engine = create_engine(database := f"sqlite:///{cli.folder}/host.sqlite3")
    Base.metadata.create_all(engine)
    engine.dispose()
    done = cli.run("doctor", "--host", "shop:opencode", "--database", database)
    assert done.returncode == 1, done.stderr
    said = " ".join(done.stdout.split())
    assert re.search(r"ok server of a \d+\.\d+\.\d+ at http", said)
    assert "missing server of gone nothing listens at http://127.0.0.1:1" in said
    assert "ok load a: 0 of 3 turns, gone: 0 turns (draining)" in said


@pytest.mark.parametrize(
    "command", [["doctor"], ["prune", "--table", "trips"]], ids=lambda command: command[0]
)
def test_a_host_and_a_server_are_not_named_both(bare, command):
    done = bare.run(*command, "--host", "shop:opencode", "--server", "http://127.0.0.1:1")
    assert done.returncode != 0
    assert "and not both" in done.stderr
