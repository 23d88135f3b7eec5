"""`make bench`: print what things cost."""

from __future__ import annotations

import platform
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from bench import ensuring, events, importing
from opencode_sessions import Client, OpencodeServer
from opencode_sessions.testing import ScriptedModel


def main() -> None:
    console = Console()
    console.print(
        f"opencode-sessions {version('opencode-sessions')}, Python {platform.python_version()}, "
        f"httpx2 {version('httpx2')}, SQLAlchemy {version('sqlalchemy')}"
    )
    show(console, "Importing", importing.measure())
    with ScriptedModel() as model, OpencodeServer(config=model.config()) as server:
        with Client(server.url, password=server.password) as client:
            console.print(f"server: opencode {client.health().version}")
        show(console, "One ensure, on a SQLite file", ensuring.measure(server))
        show(console, "Events through decode, demultiplex and reply", events.measure(server))


def show(console: Console, title: str, rows: list[tuple[str, ...]]) -> None:
    head, *body = rows
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in body:
        table.add_row(*row)
    console.print(table)


main()
