"""The commands of `opencode-sessions` with their options, as Markdown, from the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from opencode_sessions.cli.app import app

__all__ = ["commands"]

_PROGRAM = "opencode-sessions"


def commands() -> str:
    """A section for each command."""
    group: Any = typer.main.get_command(app)
    context = group.context_class(group, info_name=_PROGRAM)
    found = ((name, group.get_command(context, name)) for name in group.list_commands(context))
    return "\n\n".join("\n".join(_section(name, command, context)) for name, command in found)


def _section(name: str, command: Any, parent: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name, parent=parent)
    yield f"## {_PROGRAM} {name}"
    yield ""
    yield f"`{' '.join([_PROGRAM, name, *command.collect_usage_pieces(context)])}`"
    yield ""
    yield command.help or ""
    yield ""
    yield "| option | what it does |"
    yield "|---|---|"
    for each in command.params:
        if each.param_type_name == "option":
            names, said = each.get_help_record(context)
            yield f"| `{_cell(names)}` | {_cell(said)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
