"""`make bench`: print what things cost; `make bench ARGS='turns latency'` prints these groups alone."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from importlib.metadata import version

from fix_postgres import Postgres, running_postgres
from rich.console import Console
from rich.table import Table

from bench import (
    browsers,
    contending,
    conversations,
    ensuring,
    events,
    growing,
    importing,
    keeping,
    latency,
    merging,
    notifying,
    observing,
    queueing,
    rendering,
    stalling,
    telling,
    turns,
)
from opencode_sessions import Client, OpencodeServer
from opencode_sessions.testing import ScriptedModel

Rows = list[tuple[str, ...]]


class Stage:
    """The real parts, each started when a group first needs it."""

    def __init__(self, stack: ExitStack, console: Console) -> None:
        self._stack = stack
        self._console = console

    @cached_property
    def server(self) -> OpencodeServer:
        model = self._stack.enter_context(ScriptedModel())
        server = self._stack.enter_context(OpencodeServer(config=model.config(), models={}))
        with Client(server.url, password=server.password) as client:
            self._console.print(f"server: opencode {client.health().version}")
        return server

    def database(self) -> str:
        """The URL of a new one."""
        return str(self._postgres.url("psycopg", self._postgres.create_database()))

    @cached_property
    def _postgres(self) -> Postgres:
        return self._stack.enter_context(running_postgres())


GROUPS: dict[str, tuple[str, Callable[[Stage], Rows]]] = {
    "importing": ("Importing", lambda _: importing.measure()),
    "ensuring": ("One caller, on a SQLite file", lambda stage: ensuring.measure(stage.server)),
    "contending": (
        "Many callers on one row, in PostgreSQL",
        lambda stage: contending.measure(stage.server, stage.database()),
    ),
    "stalling": (
        "The server stalls for 5 s while 50 callers make 50 sessions, through a pool of 10 connections",
        lambda stage: stalling.measure(stage.server, stage.database()),
    ),
    "events": (
        "Events through decode, demultiplex and reply",
        lambda stage: events.measure(stage.server),
    ),
    "merging": (
        "A turn that takes no events for a while, and then what waits; shown is what it has of the answer then",
        lambda _: merging.measure(),
    ),
    "turns": (
        "A turn where others run in the same process, beside a client with an event stream for each turn",
        lambda stage: turns.measure(stage.server),
    ),
    "latency": (
        "From the server's write of a delta to the observer's call, beside a bare socket on the same bytes",
        lambda stage: latency.measure(stage.server),
    ),
    "browsers": (
        "One ASGI process that runs turns and shows them to browsers; a delay is from delta to browser, the median",
        lambda stage: browsers.measure(stage.server, stage.database),
    ),
    "telling": ("A turn as each protocol tells it", lambda stage: telling.measure(stage.server)),
    "notifying": (
        "One ASGI process runs the turns, another one shows each to one browser: FastAPI, PostgreSQL",
        lambda stage: notifying.measure(stage.server, stage.database),
    ),
    "queueing": ("Turns in the workers of task queues", lambda stage: queueing.measure(stage.database)),
    "observing": ("A turn with telemetry, and without", lambda stage: observing.measure(stage.server)),
    "growing": ("The server's memory, with an empty catalogue of models", lambda _: growing.measure()),
    "keeping": ("Files of a turn, from a folder into a folder", lambda _: keeping.measure()),
    "layouts": ("The server's memory, by where its agents work", lambda _: keeping.measure_layouts()),
    "rendering": ("200,000 characters of Markdown", lambda _: rendering.measure()),
    "conversations": (
        "One turn at the end of a conversation, on a SQLite file",
        lambda stage: conversations.measure(stage.server),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Print what things cost.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"by default all: {', '.join(GROUPS)}")
    chosen = parser.parse_args().groups or list(GROUPS)
    if unknown := [name for name in chosen if name not in GROUPS]:
        parser.error(f"there is no {', '.join(unknown)}, only {', '.join(GROUPS)}")
    console = Console()
    console.print(
        f"opencode-sessions {version('opencode-sessions')}, Python {platform.python_version()}, "
        f"httpx2 {version('httpx2')}, SQLAlchemy {version('sqlalchemy')}"
    )
    with ExitStack() as stack:
        stage = Stage(stack, console)
        for name in chosen:
            title, measure = GROUPS[name]
            show(console, title, measure(stage))


def show(console: Console, title: str, rows: Rows) -> None:
    head, *body = rows
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in body:
        table.add_row(*row)
    console.print(table)


main()
