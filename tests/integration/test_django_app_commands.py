"""`opencode_doctor`, `opencode_prune` and `opencode_recover`, on the real server."""

from __future__ import annotations

import io
import json
import re
import signal
import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from fix_cli import eventually
from scripted_server import ScriptedServer, response
from selection import sample

from opencode_sessions import Pruner
from opencode_sessions.django import client, session_for, turn_for
from opencode_sessions.errors import RequestTimedOutError

pytestmark = pytest.mark.usefixtures("nothing_left")


def run(command, *arguments):
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, no_color=True)
    return out.getvalue()


def left_behind(chat, using="default"):
    return chat.message("hello", using=using, opencode_turn_lease=timezone.now() - timedelta(seconds=1))


def test_the_doctor_finds_everything_in_order(chat, opencode):
    turn_for(chat.message("hello")).run()
    said = run("opencode_doctor", "--project-config")
    assert re.search(r"^ok +project config +the server ignores opencode.json", said, re.MULTILINE)
    assert re.search(r"^ok +Python +3\.\d+", said, re.MULTILINE)
    assert re.search(rf"^ok +server +1\.\d+\.\d+ at {opencode['SERVER']}", said, re.MULTILINE)
    assert re.search(
        r"^ok +chat\.Conversation +in default: \d+ rows, \d+ with a session$", said, re.MULTILINE
    )
    assert re.search(r"^ok +chat\.Message +in default: 1 turns$", said, re.MULTILINE)
    assert re.search(r"^ok +chat\.Message +in postgres: 0 turns$", said, re.MULTILINE)


def test_the_doctor_tells_what_was_left_behind_and_what_mends_it(chat):
    left_behind(chat, "postgres")
    said = run("opencode_doctor")
    assert "project config" not in said  # nobody asked, and it costs the server memory
    assert re.search(
        r"^warning +chat\.Message +in postgres: 1 turns, 1 abandoned \(\d+\)$", said, re.MULTILINE
    )
    assert "→ manage.py opencode_recover" in said


def test_the_doctor_fails_where_something_is_broken(chat, opencode):
    out = io.StringIO()
    with (
        chat.configured(opencode, SERVER="http://127.0.0.1:9"),
        pytest.raises(CommandError, match="missing or broken"),
    ):
        call_command("opencode_doctor", stdout=out, no_color=True)
    assert re.search(
        r"^missing +server +nothing listens at http://127\.0\.0\.1:9", out.getvalue(), re.MULTILINE
    )
    assert re.search(r"^\S+ +opencode ", out.getvalue(), re.MULTILINE)


@pytest.mark.full
def test_the_doctor_says_that_it_waits_for_a_server_that_hangs(chat, opencode, silent_port):
    out, err = io.StringIO(), io.StringIO()
    address = f"http://127.0.0.1:{silent_port}"
    with (
        chat.configured(opencode, SERVER=address, TIMEOUTS={"first_read": 1, "read": 3}),
        pytest.raises(CommandError, match="missing or broken"),
    ):
        call_command("opencode_doctor", stdout=out, stderr=err, no_color=True)
    assert f"waiting for an answer from {address} …" in err.getvalue()
    assert re.search(r"^broken +server .* is overloaded or hangs", out.getvalue(), re.MULTILINE)


def test_the_doctor_tells_a_busy_session_without_a_turn_from_one_with_a_turn(chat):
    server = client()
    stray, ours, waiting = (server.create(title="x").id for _ in range(3))
    for session_id in (stray, ours, waiting):
        server.prompt(session_id, "!slow 600\n!say x")
        eventually(lambda session_id=session_id: server.busy(session_id))
    for session_id, parked in ((ours, False), (waiting, True)):
        chat.message(
            "x",
            using="postgres",
            status="streaming",
            opencode_prompt_session_id=session_id,
            opencode_turn_lease=timezone.now() + timedelta(minutes=1),
            opencode_turn_parked=parked,
        )
    said = run("opencode_doctor")
    for session_id in (stray, ours, waiting):
        server.stop(session_id)
        server.delete(session_id)
    assert re.search(rf"^warning +busy +without a turn that runs: .*{stray}", said, re.MULTILINE)
    assert ours not in said
    assert waiting not in said
    assert re.search(r"^ok +memory +.* GB \(process \d+\)", said, re.MULTILINE)


def test_the_doctor_shows_wrong_settings_and_does_not_fall_over_them(chat, opencode):
    out = io.StringIO()
    with chat.configured(opencode, THREADS="many"), pytest.raises(CommandError):
        call_command("opencode_doctor", stdout=out, no_color=True)
    assert 'OPENCODE["THREADS"] must be a whole number' in out.getvalue()


@pytest.mark.parametrize(
    "url",
    sample(
        [
            "admin:hunter2@host",
            "http://admin:hunter2@host",
            "//admin:hunter2@host",
            "http:admin:hunter2@host",
            "admin:p@ss/hunter2@host:4096",
            "http://host?password=hunter2",
            "http://adm\u2100n:hunter2@host",
            "http://host:hunter2",
            "http://[::hunter2",
            ("http://admin:hunter2@host",),
        ],
        "http://admin:hunter2@host",
        "admin:p@ss/hunter2@host:4096",
    ),
)
def test_the_doctor_shows_no_password_that_a_url_holds(chat, opencode, url, monkeypatch):
    out = io.StringIO()
    with chat.configured(opencode, SERVER=url), pytest.raises(CommandError):
        call_command("opencode_doctor", stdout=out, no_color=True)
    assert 'OPENCODE["SERVER"]' in out.getvalue()
    monkeypatch.setenv("OPENCODE_BASE_URL", str(url))
    with chat.configured(opencode, SERVER=None), pytest.raises(CommandError):
        call_command("opencode_doctor", stdout=out, no_color=True)
    assert "the URL of the server" in out.getvalue()
    assert not re.search("hunter|p@ss", out.getvalue())


def test_the_doctor_shows_no_credentials_that_a_server_sends_back(chat, opencode):
    def echo(connection, head):
        said = re.search(rb"(?i)authorization: (.*)\r", head)[1]
        connection.sendall(response(b'{"message": "%s hunter2"}' % said, status="418 Teapot"))

    out = io.StringIO()
    with (
        ScriptedServer(echo) as server,
        chat.configured(opencode, SERVER=server.url, PASSWORD="hunter2"),
        pytest.raises(CommandError),
    ):
        call_command("opencode_doctor", stdout=out, no_color=True)
    assert "answered 418: Basic *** ***" in out.getvalue()


def test_the_doctor_misses_tables_that_were_not_migrated(chat, monkeypatch):
    monkeypatch.setattr(chat.Message._meta, "db_table", "not_yet")
    with pytest.raises(CommandError):
        run("opencode_doctor")


def test_sessions_without_a_row_are_listed_and_deleted(chat, opencode):
    with chat.configured(opencode, NAMESPACE="pruned"):
        kept, lost = (chat.conversation("postgres") for _ in range(2))
        ids = [session_for(each).ensure(client()) for each in (kept, lost)]
        chat.Conversation.objects.using("postgres").filter(pk=lost.pk).delete()
        listed = run("opencode_prune", "--grace", "0s")
        assert ids[1] in listed
        assert ids[0] not in listed
        assert "--delete deletes what is listed here" in listed
        told = json.loads(run("opencode_prune", "--grace", "0s", "--delete", "--json"))
        assert [each["session_id"] for each in told["leftovers"]] == [ids[1]]
        assert told["leftovers"][0]["deleted"]
        remaining = {info.id for info in client().list(all_directories=True)}
        assert remaining & set(ids) == {ids[0]}


def test_what_was_deleted_before_something_broke_is_told(chat, opencode, monkeypatch):
    with chat.configured(opencode, NAMESPACE="broken"):
        for _ in range(3):
            conversation = chat.conversation()
            session_for(conversation).ensure(client())
            conversation.delete()
        for error, raised in (
            (KeyboardInterrupt(), KeyboardInterrupt),
            (RequestTimedOutError("slow"), CommandError),
        ):
            walk = Pruner.delete

            def delete(self, client, walk=walk, error=error):
                yield next(walk(self, client))
                raise error

            out = io.StringIO()
            monkeypatch.setattr(Pruner, "delete", delete)
            with pytest.raises(raised):
                call_command("opencode_prune", "--older-than=0s", "--delete", stdout=out, no_color=True)
            monkeypatch.undo()
            assert "1 of them without a row, 1 deleted" in out.getvalue()
        assert "1 deleted" in run("opencode_prune", "--grace=0s", "--delete")


def test_on_a_terminal_it_says_how_far_it_is(chat, opencode, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def find(self, client):
        deadline = time.monotonic() + 60
        while "looked at" not in said.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield from ()

    said = Terminal()
    monkeypatch.setattr(Pruner, "find", find)
    call_command("opencode_prune", stdout=io.StringIO(), stderr=said, no_color=True)
    assert said.getvalue().startswith("\r0 sessions looked at, 0 without a row …")
    assert said.getvalue().endswith("\r\x1b[K")


def test_what_is_young_is_left_alone(chat, opencode):
    with chat.configured(opencode, NAMESPACE="young"):
        conversation = chat.conversation()
        session_for(conversation).ensure(client())
        conversation.delete()
        assert "0 of them without a row" in run("opencode_prune", "--delete")


def test_a_grace_period_that_is_none_is_told(chat):
    with pytest.raises(CommandError, match="write it like 90s, 30m, 24h or 7d, not soon"):
        run("opencode_prune", "--grace", "soon")


def test_a_server_that_is_away_is_told(chat, opencode):
    with (
        chat.configured(opencode, SERVER="http://127.0.0.1:9"),
        pytest.raises(CommandError, match="no OpenCode server"),
    ):
        run("opencode_prune")


@pytest.mark.parametrize("using", sample(["default", "postgres"], "postgres"))
def test_what_was_left_behind_is_run_and_then_the_command_ends(chat, using):
    before = signal.getsignal(signal.SIGTERM)
    messages = [left_behind(chat, using) for _ in range(3)]
    said = run("opencode_recover")
    assert sorted(said.splitlines()) == sorted(
        f"chat.Message {message.pk}: completed" for message in messages
    )
    assert {chat.row(message).status for message in messages} == {"completed"}
    assert run("opencode_recover") == ""
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_turn_that_nobody_enqueued_is_left_alone(chat):
    message = chat.message("a draft")
    assert run("opencode_recover") == ""
    assert chat.row(message).status == "pending"


@pytest.mark.parametrize("seconds", ["0", "-1", "60"])
def test_a_watch_that_is_too_short_or_too_long_is_refused(chat, seconds):
    with pytest.raises(CommandError, match="between 0 and 60"):
        run("opencode_recover", f"--watch={seconds}")
