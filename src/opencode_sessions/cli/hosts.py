"""The host that a command is for: `module:name`, as in the worker of a queue."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import typer

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost, Host
from opencode_sessions.sessions.servers import Servers
from opencode_sessions.wire.clients import Client

__all__ = ["check_one_given", "host_option", "load_host", "servers_of"]

host_option = typer.Option(
    "--host",
    metavar="MODULE:NAME",
    help="Your host, such as worker:opencode: look at all servers of its settings.",
    show_default=False,
)


def load_host(name: str) -> Host | AsyncHost:
    """The host that `module:name` names.

    Raises:
        ConfigurationError: It names none.
    """
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as `python -m` does
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"{name!r} names no host, such as worker:opencode does: {error}") from error
    if not isinstance(found, Host | AsyncHost):
        raise ConfigurationError(f"{name!r} is no Host and no AsyncHost, but a {type(found).__name__}")
    return found


def check_one_given(server: str | None, host: str | None) -> None:
    """A command looks at one server, or at all of a host's.

    Raises:
        ConfigurationError: Both are given.
    """
    if server is not None and host is not None:
        raise ConfigurationError("give --server or --host, and not both: a host's settings name its servers")


@contextmanager
def servers_of(host: Host | AsyncHost) -> Iterator[Servers[Client]]:
    """Clients of all servers of a host's settings."""
    with ExitStack() as stack:
        yield Servers(
            {
                name: stack.enter_context(Client(**options))
                for name, options in host.settings.client_options().items()
            }
        )
