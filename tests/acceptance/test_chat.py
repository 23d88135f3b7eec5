from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import ExitStack, suppress

import pytest
from fix_cli import PATIENCE, CommandLine, eventually, read_until, terminal
from selection import sample

from opencode_sessions import Client
from opencode_sessions.store.messages import TurnStatus

KEYS = {
    "conversation",
    "session_id",
    "just_created",
    "status",
    "content",
    "tools",
    "cost",
    "input_tokens",
    "output_tokens",
    "duration_ms",
    "error",
}
SLOW = "!slow 0.2\n!say one two three four five six seven eight nine ten eleven twelve"
LONG = "!slow 0.2\n!say one two three " + "four " * 400 + "twelve"  # for what is cut short


def at_once(*commands):
    """What commands that run beside each other write to stdout."""
    with ExitStack() as stack:
        processes = [stack.enter_context(command) for command in commands]
        return [process.communicate(timeout=PATIENCE)[0] for process in processes]


def is_one_sentence(text):
    return text.startswith("Error: ") and text.count("\n") == 1 and "Traceback" not in text


# One message.


def test_an_answer_is_shown_with_what_it_cost(cli):
    done = cli.run("chat", "good morning")
    assert done.returncode == 0, done.stderr
    answer, footer = done.stdout.splitlines()
    assert answer == 'You said: "good morning".'
    assert re.fullmatch(r"── completed · [\d,]+ tokens in, \d+ out · \$0\.\d+ · \d+\.\d s", footer)
    assert done.stderr == ""


@pytest.mark.full
def test_the_answer_is_shown_while_it_comes(cli):
    with cli.start("chat", SLOW) as process:
        shown = read_until(process, "two")
        assert "twelve" not in shown
        rest = process.stdout.read()
    assert "twelve" in rest
    assert "── completed" in rest


@pytest.mark.full
def test_thoughts_and_tools_are_shown_as_they_happen(cli):
    done = cli.run(
        "chat", '!reason I should write\n!tool write {"filePath": "shown.txt", "content": "x"}\n!say There.'
    )
    assert done.stdout.splitlines()[:-1] == [
        "thinking: I should write",
        "→ write shown.txt (running)",
        "✓ write shown.txt",
        "There.",
    ]


@pytest.mark.full
def test_a_retry_of_the_provider_is_shown(cli):
    done = cli.run("chat", "!rate-limit 1\n!say after all")
    assert done.returncode == 0
    assert "↻ Rate limit reached: attempt 2 in" in done.stdout
    assert "after all" in done.stdout


def test_json_puts_one_line_on_stdout_and_the_stream_on_stderr(cli, rows):
    line, done = cli.json("hello", "--conversation", "trip")
    assert done.returncode == 0
    assert set(line) == KEYS
    assert (line["conversation"], line["status"], line["error"]) == ("trip", "completed", None)
    assert line["content"] == 'You said: "hello".'
    assert line["just_created"] is True
    assert line["input_tokens"] > 0
    assert line["duration_ms"] > 0
    assert 'You said: "hello".' in done.stderr
    [row] = rows("select m.*, c.opencode_session_id from opencode_messages m join opencode_conversations c")
    stored = {name: row[name] for name in ("status", "content", "cost", "input_tokens", "output_tokens")}
    assert stored == {name: line[name] for name in stored}
    assert row["opencode_session_id"] == line["session_id"]


@pytest.mark.full
def test_json_lists_the_tools(cli):
    line, _ = cli.json(
        '!tool write {"filePath": "listed.txt", "content": "x"}\n!tool read {"filePath": "missing.txt"}'
    )
    write, read = line["tools"]
    assert (write["tool"], write["status"], write["input"]["filePath"]) == (
        "write",
        "completed",
        "listed.txt",
    )
    assert "listed.txt" in write["title"]
    assert (read["tool"], read["status"]) == ("read", "error")
    assert "missing.txt" in read["error"]


@pytest.mark.full
def test_a_provider_that_refuses_is_exit_code_1(cli, rows):
    line, done = cli.json("!error 400 no such model")
    assert done.returncode == 1
    assert line["status"] == "failed"
    assert line["error"]["message"] == "no such model"
    assert "✗ APIError: no such model" in done.stderr
    assert [row["status"] for row in rows("select status from opencode_messages")] == ["failed"]


@pytest.mark.full
def test_the_log_is_shown_when_it_is_asked_for(cli):
    done = cli.run("--verbose", "chat", "hello")
    assert "opencode_sessions.session: session ses_" in done.stderr
    assert "opencode_sessions" not in done.stdout


# Conversations.


def test_a_conversation_goes_on_in_the_next_command(cli, rows):
    first, _ = cli.json("my name is Ada")
    second, _ = cli.json("who am I?")
    assert (first["just_created"], second["just_created"]) == (True, False)
    assert first["session_id"] == second["session_id"]
    assert 'Before that you said: "my name is Ada".' in second["content"]
    assert rows("select name from opencode_conversations") == [{"name": "default"}]
    assert len(rows("select id from opencode_messages where conversation_id = 1")) == 2


@pytest.mark.full
def test_two_chats_share_a_server_and_keep_their_sessions_apart(cli, rows):
    names = ("left", "right")
    said = at_once(*(cli.start("chat", f"I am {name}", "--json", "-c", name) for name in names))
    lines = [json.loads(line) for line in said]
    assert [line["content"] for line in lines] == ['You said: "I am left".', 'You said: "I am right".']
    assert len({line["session_id"] for line in lines}) == 2
    assert len(rows("select id from opencode_conversations")) == 2


@pytest.mark.full
def test_one_new_conversation_from_two_commands_at_once_has_one_session(cli, rows):
    banners = at_once(*(cli.start("chat") for _ in range(3)))
    [session_id] = {re.search(r"session +(ses_\w+)", banner)[1] for banner in banners}
    assert sum("just created" in banner for banner in banners) == 1
    assert rows("select opencode_session_id from opencode_conversations") == [
        {"opencode_session_id": session_id}
    ]
    assert len(rows("select id from opencode_conversations")) == 1


@pytest.mark.full
def test_a_session_that_the_server_lost_is_replaced_and_that_is_said(cli, served):
    first, _ = cli.json("hello")
    with Client(served["OPENCODE_BASE_URL"], password=served["OPENCODE_SERVER_PASSWORD"]) as client:
        client.delete(first["session_id"])
    second, done = cli.json("still there?")
    assert (second["status"], second["just_created"]) == ("completed", True)
    assert second["session_id"] != first["session_id"]
    assert "no longer has this session" in done.stderr


@pytest.mark.full
def test_a_chat_in_postgresql(cli, postgres):
    url = postgres.url("psycopg")
    _first, done = cli.json("hello", "-d", url)
    assert done.returncode == 0, done.stderr
    second, _ = cli.json("again", "-d", url)
    assert 'Before that you said: "hello".' in second["content"]


@pytest.mark.full
def test_offline_a_later_chat_still_knows_the_conversation_and_the_repository_around_is_out_of_reach(bare):
    subprocess.run(["git", "init", "-q", bare.folder], check=True)
    writes = [
        f'!tool write {{"filePath": "{path}", "content": "x"}}' for path in ("kept.txt", "../../outside.txt")
    ]
    first, done = bare.json("\n".join(["my name is Ada", *writes]), "--offline")
    assert done.returncode == 0, done.stderr
    assert [tool["status"] for tool in first["tools"]] == ["completed", "error"]
    assert (bare.folder / ".opencode-sessions" / "work" / "kept.txt").read_text() == "x"
    assert not (bare.folder / "outside.txt").exists()

    logs = (bare.folder / ".opencode-sessions" / ".local" / "share" / "opencode" / "log").glob("*.log")
    assert not any("Failed to fetch" in log.read_text() for log in logs)

    second, _ = bare.json("who am I?", "--offline")
    assert second["session_id"] == first["session_id"]
    assert 'Before that you said: "my name is Ada".' in second["content"]


# What the agent may do.


def test_the_agent_may_not_leave_its_folder_run_commands_read_secrets_or_wait_for_a_person(cli, tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    question = {"question": "?", "header": "?", "options": [{"label": "a", "description": "a"}]}
    calls = {
        "write": {"filePath": str(tmp_path / "outside.txt"), "content": "x"},
        "read": {"filePath": ".env"},
        "bash": {"command": f"touch {tmp_path}/outside.txt", "description": "touch"},
        "question": {"questions": [question]},
    }
    line, done = cli.json("\n".join(f"!tool {name} {json.dumps(given)}" for name, given in calls.items()))
    assert done.returncode == 0, done.stderr
    write, read, *others = line["tools"]
    assert "prevents you" in write["error"]
    assert "prevents you" in read["error"]
    assert ["unavailable tool" in call["error"] for call in others] == [
        True
    ] * 2  # the model is not offered these
    assert not (tmp_path / "outside.txt").exists()


# Stopping.


@pytest.mark.parametrize("number", sample([signal.SIGINT, signal.SIGTERM]))
def test_a_signal_in_the_middle_keeps_the_partial_answer(cli, rows, served, number):
    with cli.start("chat", LONG, "--json") as process:
        read_until(process, "two", "stderr")
        process.send_signal(number)
        stdout, _ = process.communicate(timeout=PATIENCE)
    line = json.loads(stdout)
    assert process.returncode == 130
    assert line["status"] == "cancelled"
    [row] = rows("select * from opencode_messages")
    assert row["status"] == TurnStatus.CANCELLED
    assert row["content"] == line["content"]
    assert row["content"].startswith("one two")
    assert "twelve" not in row["content"]
    with Client(served["OPENCODE_BASE_URL"], password=served["OPENCODE_SERVER_PASSWORD"]) as client:
        eventually(lambda: line["session_id"] not in client.status())


# Another answer is running.


@pytest.mark.parametrize(
    ("running", "choice", "its_end"),
    [
        pytest.param(SLOW, "wait", "completed", marks=pytest.mark.full),
        pytest.param(LONG, "cancel", "cancelled", marks=pytest.mark.full),
    ],
)
def test_a_message_to_a_busy_conversation_waits_or_cancels(cli, running, choice, its_end):
    with cli.start("chat", running, "--json") as process:
        read_until(process, "two", "stderr")
        line, done = cli.json("hello", "--when-busy", choice)
        assert done.returncode == 0, done.stderr
        assert line["status"] == "completed"
        assert line["content"].startswith('You said: "hello".')
        stdout, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(stdout)["status"] == its_end


@pytest.mark.full
def test_a_message_to_a_busy_conversation_can_fail_at_once(cli):
    with cli.start("chat", LONG) as process:
        read_until(process, "two")
        done = cli.run("chat", "hello", "--when-busy", "reject")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert done.returncode == 1
    assert is_one_sentence(done.stderr)
    assert "is still being answered" in done.stderr


# What cannot work.


def test_no_server_is_one_sentence_that_says_what_to_do_and_json_tells_it_too(bare):
    line, done = bare.json("hello")
    assert done.returncode == 1
    assert is_one_sentence(done.stderr)
    assert "opencode-sessions serve --offline" in done.stderr
    assert "--offline for a server of this chat's own" in done.stderr
    assert set(line) == KEYS
    assert line["status"] == "failed"
    assert line["error"]["name"] == "ServerUnreachableError"
    assert line["error"]["message"] in done.stderr


@pytest.mark.full
def test_a_data_folder_that_cannot_be_made_is_one_sentence(bare):
    (bare.folder / "taken").write_text("a file")
    done = bare.run("chat", "hello", "--offline", "--data", "taken")
    assert done.returncode == 2
    assert is_one_sentence(done.stderr)
    assert "the data folder taken cannot be made" in done.stderr


@pytest.mark.full
def test_a_wrong_password_is_one_sentence(tmp_path, served):
    done = CommandLine(tmp_path, **{**served, "OPENCODE_SERVER_PASSWORD": "wrong"}).run("chat", "hello")
    assert done.returncode == 1
    assert is_one_sentence(done.stderr)
    assert "OPENCODE_SERVER_PASSWORD" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--json"], "needs a message"),
        *(
            pytest.param(arguments, says, marks=pytest.mark.full)
            for arguments, says in [
                (["  "], "empty"),
                (["x", "--offline", "--server", "http://127.0.0.1:1"], "one of the two"),
                (["x", "--data", "somewhere"], "only the server of --offline"),
                (["x", "--conversation", " "], "a conversation has a name"),
                (["x", "--server", "ftp://nowhere"], "does not begin with http:// or https://"),
            ]
        ),
    ],
)
def test_bad_usage_is_exit_code_2(bare, arguments, says):
    done = bare.run("chat", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.full
def test_a_database_that_cannot_be_used_is_one_sentence_without_its_password(bare):
    done = bare.run("chat", "hello", "--database", "postgresql+psycopg://u:hunter2@127.0.0.1:1/x")
    assert done.returncode == 2
    assert is_one_sentence(done.stderr)
    assert "connection failed" in done.stderr
    assert "hunter2" not in done.stderr


# At the prompt.


def test_at_the_prompt_one_talks_stops_an_answer_and_leaves(cli, rows):
    with terminal(cli, "chat") as (process, write, wait_for):
        banner = wait_for("› ")
        assert "default (just created)" in banner
        assert "ses_" in banner
        assert cli.environ["OPENCODE_BASE_URL"] in banner
        assert "sqlite:///opencode-sessions.sqlite3" in banner
        assert "/quit" in banner
        write("hello" + " hello" * 30 + "\r")  # which is said again, and not soon
        wait_for('You said: "hello')
        wait_for("› ")
        write("!slow 0.3\r")
        wait_for("Before")
        process.send_signal(signal.SIGINT)
        wait_for("cancelled")
        wait_for("› ")
        write("!error 400 no such model\r")
        wait_for("no such model")
        wait_for("failed")
        wait_for("› ")
        write("/quit\r")
        assert process.wait(PATIENCE) == 0
    statuses = [row["status"] for row in rows("select status from opencode_messages order by id")]
    assert statuses == ["completed", "cancelled", "failed"]


@pytest.mark.parametrize("leave", ["\x04", "\x03"], ids=["ctrl-d", "ctrl-c"])
@pytest.mark.full
def test_a_key_at_the_prompt_leaves(cli, leave):
    with terminal(cli, "chat") as (process, write, wait_for):
        wait_for("› ")
        if leave == "\x03":
            interrupt_until_it_is_heeded(process, wait_for)
        else:
            write(leave)
        assert process.wait(PATIENCE) == 0


def interrupt_until_it_is_heeded(process, wait_for):
    """Readline heeds a signal only while it waits for a key. A second one would come into the end of the program."""
    for _ in range(10):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        with suppress(AssertionError):
            wait_for("\n", 12)
            return


@pytest.mark.full
def test_lines_from_a_pipe_are_prompts(cli, rows):
    done = cli.run("chat", stdin="first\n\nsecond\n")
    assert done.returncode == 0, done.stderr
    assert 'You said: "second". Before that you said: "first".' in done.stdout
    assert len(rows("select id from opencode_messages")) == 2


@pytest.mark.full
def test_a_message_is_stored_in_the_middle_of_its_answer(cli, tmp_path):
    with cli.start("chat", LONG) as process:
        read_until(process, "three")
        connection = sqlite3.connect(tmp_path / "opencode-sessions.sqlite3")
        query = "select status, content from opencode_messages"
        status, content = eventually(lambda: next((row for row in connection.execute(query) if row[1]), None))
        connection.close()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert status == TurnStatus.STREAMING
    assert content.startswith("one")
