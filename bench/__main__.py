"""`make bench`: print what things cost."""

from __future__ import annotations

import platform
from importlib.metadata import version

from fix_postgres import running_postgres
from rich.console import Console
from rich.table import Table

from bench import contending, ensuring, events, importing, stalling
from opencode_sessions import Client, OpencodeServer
from opencode_sessions.testing import ScriptedModel


def main() -> None:
    console = Console()
    console.print(
        f"opencode-sessions {version('opencode-sessions')}, Python {platform.python_version()}, "
        f"httpx2 {version('httpx2')}, SQLAlchemy {version('sqlalchemy')}"
    )
    show(console, "Importing", importing.measure())
    with (
        ScriptedModel() as model,
        OpencodeServer(config=model.config()) as server,
        running_postgres() as postgres,
    ):
        with Client(server.url, password=server.password) as client:
            console.print(f"server: opencode {client.health().version}")
        show(console, "One caller, on a SQLite file", ensuring.measure(server))

        def database() -> str:
            return str(postgres.url("psycopg", postgres.create_database()))

        show(console, "Many callers on one row, in PostgreSQL", contending.measure(server, database()))
        show(
            console,
            "The server stalls for 5 s while 50 callers make 50 sessions, through a pool of 10 connections",
            stalling.measure(server, database()),
        )
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
