"""`opencode-sessions demo`: the idea in two turns, on a real server with a scripted model: no keys, no network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opencode_sessions.cli.chat import converse
from opencode_sessions.cli.conversing import Chat
from opencode_sessions.cli.database import Database, Message
from opencode_sessions.cli.exits import exit_code
from opencode_sessions.cli.naming import command
from opencode_sessions.cli.rendering import PROMPT, money, one_line
from opencode_sessions.cli.screen import Screen
from opencode_sessions.cli.servers import DATA_FOLDER, Reached, furnish, reach_offline
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import DEFAULT_RULE, Call, ModelRequest, Rule, Script, Step

__all__ = ["demo"]

_FOLDER = DATA_FOLDER / "demo"
_PAUSE = 0.04

_LIST = """\
# Three days in Lisbon

- walking shoes: the streets are steep
- a light jacket for the evenings by the river
- a book for the tram
"""


def _write_the_list(request: ModelRequest) -> Script:
    name = re.search(r"\S+\.md", request.prompt)
    return Script(
        Step(
            reason="They want a file. I may write in my own directory, so I need not ask.",
            say="I write it down.",
            calls=(Call("write", {"filePath": name[0] if name else "list.md", "content": _LIST}),),
            pause=_PAUSE,
        ),
        Step(say="Done: three things to pack, and room for more.", pause=_PAUSE),
    )


def _remember(request: ModelRequest) -> Script:
    """The proof that the session goes on: what it quotes, it has from the server, not from this program."""
    before = request.prompts[:-1]
    quoted = f'You asked me: "{before[-1]}"' if before else "I know of nothing that you asked me before."
    return Script(Step(say=quoted, pause=_PAUSE))


_RULES = (
    Rule(when="packing list", reply=_write_the_list),
    Rule(when="What did I ask", reply=_remember),
    DEFAULT_RULE,
)


def demo() -> None:
    """See the whole of it: two turns of one conversation, streamed and stored, offline.

    Everything is kept in .opencode-sessions/demo/; each run has a conversation of its own.
    """
    console = Console(highlight=False, soft_wrap=True)
    screen = Screen(console)
    furnish(_FOLDER)
    path = _FOLDER / "demo.sqlite3"
    with Database(f"sqlite:///{path}") as database:
        screen.wait("starting OpenCode, with a scripted model")
        with reach_offline(_FOLDER, rules=_RULES) as reached:
            screen.settle()
            _Narrator(console, screen, database, reached, path).tell()


class _Narrator:
    """Tells the story; every number and id in it is what really happened."""

    def __init__(
        self, console: Console, screen: Screen, database: Database, reached: Reached, path: Path
    ) -> None:
        assert reached.managed is not None  # noqa: S101 - the demo's server is its own
        self._server = reached.managed
        self._step = 0
        self._console = console
        self._screen = screen
        self._database = database
        self._reached = reached
        self._path = path
        name = f"demo-{database.newest() + 1}"
        self._file = f"{name}.md"
        self._chat = Chat(database, name, reached.client, screen)

    def tell(self) -> None:
        """From the row to the rows."""
        self._say(f"[dim]{escape(self._reached.description)}[/]")
        self._heading("A conversation is a row of a database")
        row = self._chat.conversation
        self._say(
            f"{row.__tablename__} #{row.id}: name {row.name!r}, opencode_session_id {row.opencode_session_id}"
        )

        self._heading("The first turn makes its session, under rules, and streams")
        self._ensure()
        self._turn(f"Please write me a packing list for Lisbon, into {self._file}.")

        self._heading("The second turn finds that session, and it knows the first")
        self._ensure()
        self._turn("What did I ask you before?")

        self._heading("What is stored")
        self._show_rows()
        self._heading("What the agent made")
        self._show_file()
        self._heading("Where things lie")
        self._show_places()
        self._go_on()

    def _ensure(self) -> None:
        self._screen.wait("session.ensure(client)")
        session_id, just_created = self._chat.ensure()
        self._screen.settle()
        self._say(f"session.ensure(client) → {session_id}, just_created: {'yes' if just_created else 'no'}")

    def _turn(self, prompt: str) -> None:
        self._say(f"[bold]{PROMPT}{escape(prompt)}[/]")
        result = self._chat.say(prompt)
        if result.status is not TurnStatus.COMPLETED:
            raise typer.Exit(exit_code(result.status))

    def _show_rows(self) -> None:
        row = self._chat.conversation
        self._database.refresh(row)
        self._say(f"{row.__tablename__}")
        for name in ("id", "name", "opencode_session_id", "opencode_session_ready_at"):
            self._say(f"  [dim]{name:<26}[/] {escape(str(getattr(row, name)))}")
        messages = self._database.messages(row)
        self._say(Message.__tablename__)
        table = Table("id", "status", "prompt", "content", box=SIMPLE)
        for heading in ("in", "out", "cost"):
            table.add_column(heading, justify="right")
        for message in messages:
            texts = (str(message.id), message.status, one_line(message.prompt), one_line(message.content))
            numbers = (f"{message.input_tokens:,}", f"{message.output_tokens:,}", money(message.cost))
            table.add_row(*map(escape, texts), *numbers)
        self._console.print(table, soft_wrap=False)
        tokens = sum(message.input_tokens + message.output_tokens for message in messages)
        self._say(
            f"{tokens:,} tokens, {money(sum(message.cost for message in messages))} (at the model's made-up prices)"
        )

    def _show_file(self) -> None:
        path = self._server.directory / self._file
        self._say(f"[dim]{escape(str(path))}[/]")
        self._say(escape(path.read_text(encoding="utf-8").rstrip()))

    def _show_places(self) -> None:
        path = self._path
        query = f"select id, status, content from {Message.__tablename__}"  # noqa: S608 - to be read by a person
        places = {
            "database": path,
            "server log": self._server.log_path,
            "server data": self._server.data,
            "look": f'sqlite3 {path} "{query}"',
            "go on": f"{command()} chat --offline -d sqlite:///{path} --data {_FOLDER} "
            f"-c {self._chat.conversation.name}",
        }
        for name, place in places.items():
            self._say(f"[dim]{name:>11}[/]  {escape(str(place))}")

    def _go_on(self) -> None:
        if sys.stdin.isatty() and sys.stdout.isatty():
            self._heading("Go on, if you like: it echoes, or does what !tool says; /quit or Ctrl-D leaves")
            converse(self._chat, self._screen)

    def _heading(self, text: str) -> None:
        self._step += 1
        self._say(f"\n[bold cyan]{self._step}  {escape(text)}[/]")

    def _say(self, markup: str) -> None:
        self._console.print(markup)
