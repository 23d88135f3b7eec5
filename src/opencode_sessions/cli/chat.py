"""`opencode-sessions chat`: one message, or a conversation at the prompt."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from opencode_sessions.cli.conversing import Chat
from opencode_sessions.cli.database import DEFAULT_DATABASE, Database
from opencode_sessions.cli.exits import exit_code
from opencode_sessions.cli.prompting import prompts
from opencode_sessions.cli.rendering import tool_facts
from opencode_sessions.cli.screen import Screen
from opencode_sessions.cli.servers import Reached, data_beside, reach, reach_offline
from opencode_sessions.errors import OpencodeError
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.results import TurnResult

__all__ = ["chat"]

_OTHERWISE = ", or add --offline for a server of this chat's own"


def chat(
    message: Annotated[
        str | None, typer.Argument(help="The message. Without it: an interactive chat.", show_default=False)
    ] = None,
    *,
    conversation: Annotated[
        str, typer.Option("--conversation", "-c", metavar="NAME", help="Which one; made if it is new.")
    ] = "default",
    database: Annotated[
        str, typer.Option("--database", "-d", metavar="URL", help="Any SQLAlchemy URL.")
    ] = DEFAULT_DATABASE,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", "-s", metavar="URL", help="Default: OPENCODE_BASE_URL, else http://127.0.0.1:4096."
        ),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="With a server of its own and a scripted model: no keys, no network."),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder for the data of --offline's server. Default: .opencode-sessions beside the database.",
        ),
    ] = None,
    when_busy: Annotated[
        WhenBusy,
        typer.Option(
            "--when-busy",
            help="If the conversation has another answer running: wait for it, cancel it, or fail.",
        ),
    ] = "wait",
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON on stdout; what is streamed goes to stderr.")
    ] = False,
) -> None:
    """Talk to an agent, in a conversation that is a row of a database.

    Ctrl-C stops an answer and keeps what came of it; once more leaves at once.
    The agent works in its server's directory; it may not leave it, nor run commands.
    """
    _check_usage(message, conversation, server=server, offline=offline, data=data, as_json=as_json)
    screen = Screen(Console(stderr=as_json, highlight=False, emoji=False))
    try:
        with Database(database) as opened:
            folder = data or data_beside(opened.url)
            with _reached(screen, server, folder if offline else None) as reached:
                talk = Chat(opened, conversation, reached.client, screen, when_busy=when_busy)
                if message is None:
                    _introduce(screen.console, talk, opened, reached)
                    _converse(talk, screen)
                    return
                result = talk.say(message)
    except (OpencodeError, SQLAlchemyError) as error:
        if as_json:
            _print_line(conversation, error=error)
        raise
    except KeyboardInterrupt:
        if as_json:
            _print_line(conversation, status=TurnStatus.CANCELLED)
        raise
    finally:
        screen.settle()
    if as_json:
        _print_line(conversation, result=result)
    raise typer.Exit(exit_code(result.status))


def _check_usage(
    message: str | None,
    conversation: str,
    *,
    server: str | None,
    offline: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    if message is None and as_json:
        raise typer.BadParameter(
            "it needs a message: a chat at the prompt has no one line", param_hint="--json"
        )
    if message is not None and not message.strip():
        raise typer.BadParameter("it is empty", param_hint="MESSAGE")
    if not conversation.strip():
        raise typer.BadParameter("it is empty: a conversation has a name", param_hint="--conversation")
    if offline and server is not None:
        raise typer.BadParameter(
            "--offline brings a server of its own: give one of the two", param_hint="--server"
        )
    if data is not None and not offline:
        raise typer.BadParameter("only the server of --offline keeps its data here", param_hint="--data")


@contextlib.contextmanager
def _reached(screen: Screen, server: str | None, data: Path | None) -> Iterator[Reached]:
    if data is not None:
        screen.wait("starting OpenCode")
    with reach(server, otherwise=_OTHERWISE) if data is None else reach_offline(data) as reached:
        screen.settle()
        yield reached


def _converse(talk: Chat, screen: Screen) -> None:
    """Ask and answer until the person leaves. An error in a turn ends the turn, not the chat."""
    for prompt in prompts(screen.console):
        try:
            talk.say(prompt)
        except (OpencodeError, SQLAlchemyError) as error:
            screen.trouble(error)
        screen.console.print()


def _introduce(console: Console, talk: Chat, database: Database, reached: Reached) -> None:
    session_id, just_created = talk.ensure()
    known = database.count_messages(talk.conversation)
    history = "just created" if just_created else f"{known} message{'' if known == 1 else 's'} so far"
    facts = {
        "conversation": f"{talk.conversation.name} ({history})",
        "session": session_id,
        "server": reached.description,
        "database": database.shown,
        "leave": "/quit, Ctrl-D or Ctrl-C; while an answer comes, Ctrl-C stops it",
    }
    for name, value in facts.items():
        console.print(f"[dim]{name:>12}[/]  {escape(value)}", highlight=False, soft_wrap=True)
    if reached.managed is not None:
        console.print(
            "[dim]         try[/]  "
            + escape('!tool write {"filePath": "hello.txt", "content": "hi"}, or anything else: it echoes'),
            highlight=False,
            soft_wrap=True,
        )
    console.print()


def _print_line(
    conversation: str,
    *,
    result: TurnResult | None = None,
    error: Exception | None = None,
    status: TurnStatus = TurnStatus.FAILED,
) -> None:
    line: dict[str, Any] = {
        "conversation": conversation,
        "session_id": None,
        "just_created": False,
        "status": status,
        "content": "",
        "tools": [],
        "cost": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
        "duration_ms": None,
        "error": None if error is None else {"name": type(error).__name__, "message": str(error)},
    }
    if result is not None:
        line |= {
            "session_id": result.session_id,
            "just_created": result.just_created,
            "status": result.status,
            "content": result.content,
            "tools": tool_facts(result.parts),
            "cost": result.cost,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
            "duration_ms": None if result.duration is None else round(result.duration * 1000),
            "error": None if result.error is None else dict(result.error),
        }
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()
