"""The checks of `doctor`, in every front end: Python, the server, its binary."""

from __future__ import annotations

import json
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from opencode_sessions.errors import (
    CredentialsRefusedError,
    OpencodeError,
    RequestTimedOutError,
    ServerNotInstalledError,
    ServerUnreachableError,
    UnsupportedVersionError,
)
from opencode_sessions.protocol.plain import one_line
from opencode_sessions.protocol.values import SessionInfo
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.server.binary import find_binary, version_of
from opencode_sessions.server.environment import GUARD
from opencode_sessions.wire.clients import Client, blocking_wire
from opencode_sessions.wire.detect import SUPPORTED
from opencode_sessions.wire.memory import local_server
from opencode_sessions.wire.waiting import announced

__all__ = [
    "ABANDONED",
    "MOST_SHOWN",
    "Finding",
    "State",
    "describe_turns",
    "look_at_binary",
    "look_at_busy",
    "look_at_clocks",
    "look_at_guard",
    "look_at_memory",
    "look_at_project_config",
    "look_at_python",
    "look_at_server",
    "look_closer",
]

_OLDEST_PYTHON = (3, 11)
_MOST_CLOCKS_DIFFER = 2
_RECENT = 24 * 3600.0
_SETTLE = 1.0

MOST_SHOWN = 5
"""So many sessions, or turns, are named; of the others the number is told."""

ABANDONED = "abandoned"
"""The state of a turn that no process runs or has reserved. If it stays, recovery does not run."""

Running = Callable[[], Collection[str]]


class State(StrEnum):
    """The result of one check."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        mend: The advice, if something must be done.
    """

    what: str
    state: State
    found: str
    mend: str = ""

    @property
    def broken(self) -> bool:
        """Whether something does not work because of it."""
        return self.state in (State.MISSING, State.BROKEN)


def look_at_python() -> Finding:
    """The version of Python."""
    found = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("Python", State.BROKEN, found, "Python 3.11 or newer")
    return Finding("Python", State.OK, found)


def look_at_binary(*, needed: bool) -> Finding:
    """The `opencode` that would be started here."""
    what = "opencode"
    try:
        path = find_binary()
        version = version_of(path)
    except ServerNotInstalledError as error:
        return Finding(what, State.MISSING if needed else State.WARNING, "not found", str(error))
    except (OSError, subprocess.SubprocessError) as error:
        mend = "install it anew: npm install opencode-ai"
        return Finding(what, State.BROKEN if needed else State.WARNING, f"{path} does not run: {error}", mend)
    return Finding(what, State.OK, f"{version} at {path} (supported: {SUPPORTED})")


def look_at_server(
    make_client: Callable[[], Client], *, asked_for: bool, start: str, say: Callable[[str], object]
) -> Finding:
    """The program that answers at a client's address.

    Args:
        make_client: Makes a client, which is closed here.
        asked_for: Whether the address was given, so that a server must be there.
        start: The command that starts a server.
        say: Called, from another thread, if the answer takes longer than 2 s.
    """
    what = "server"
    try:
        with make_client() as client:
            address = client.address.base_url
            with announced(say, f"waiting for an answer from {address} …"):
                number = client.health().version
    except (ServerUnreachableError, RequestTimedOutError) as error:
        if getattr(error, "refused", False):
            state = State.MISSING if asked_for else State.WARNING
            return Finding(what, state, f"nothing listens at {address}", start)
        return Finding(what, State.BROKEN if asked_for else State.WARNING, str(error))
    except CredentialsRefusedError:
        mend = "set OPENCODE_SERVER_PASSWORD to the server's"
        return Finding(what, State.BROKEN, f"{address} refuses the credentials", mend)
    except UnsupportedVersionError as error:
        return Finding(what, State.BROKEN, f"OpenCode {error.found} at {address}", f"a version {SUPPORTED}")
    except OpencodeError as error:
        return Finding(what, State.BROKEN, str(error), f"the URL of an OpenCode server, {SUPPORTED}")
    return Finding(what, State.OK, f"{number} at {address} (supported: {SUPPORTED})")


def look_closer(
    make_client: Callable[[], Client], *, running: Running, stray: str, project_config: bool
) -> Iterator[Finding]:
    """More checks of a server that answers. The one for `project_config` costs the server memory.

    Args:
        make_client: Makes a client, which is closed here.
        running: The sessions in which turns run now, according to the rows.
        stray: The advice for a busy session without a running turn.
        project_config: Also check whether the server reads configuration from the folder of an agent.
    """
    yield look_at_clocks(make_client)
    yield look_at_guard(make_client)
    yield look_at_busy(make_client, running=running, stray=stray)
    yield look_at_memory(make_client)
    if project_config:
        yield look_at_project_config(make_client)


def look_at_clocks(make_client: Callable[[], Client]) -> Finding:
    """Whether the clocks of the server and this machine agree. The ids of messages depend on them."""
    what = "clocks"
    mend = "let both machines take their time from the network (NTP)"
    try:
        with make_client() as client:
            ahead = run_sync(blocking_wire(client).clock_difference())
    except OpencodeError as error:
        return Finding(what, State.WARNING, f"could not be compared: {error}")
    if ahead is None:
        return Finding(what, State.WARNING, "could not be compared: the server does not say its time")
    if abs(ahead) > _MOST_CLOCKS_DIFFER:
        than = f"the server's is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
        return Finding(what, State.WARNING, than, mend)
    return Finding(what, State.OK, f"the server's and this machine's agree within {_MOST_CLOCKS_DIFFER} s")


def look_at_guard(make_client: Callable[[], Client]) -> Finding:
    """Whether the server's configuration names the plugin that guards what permission rules do not reach."""
    what = "guard"
    mend = (
        "start it with `opencode-sessions serve`, or see docs/security.md, A server that you start yourself"
    )
    try:
        with make_client() as client:
            config = run_sync(blocking_wire(client).own_config())
    except OpencodeError as error:
        return Finding(what, State.WARNING, f"could not be seen: {error}", mend)
    if config is None:
        found = "an OpenCode 2.x server does not load this library's plugin"
        return Finding(what, State.WARNING, found, "run it in a container, or as a user of its own")
    if not any(str(plugin).endswith(f"/{GUARD.name}") for plugin in config.get("plugin") or ()):
        found = "the server does not load this library's plugin: agents have ways past their rules"
        return Finding(what, State.WARNING, found, mend)
    if config.get("snapshot") is not False:
        found = "the server makes snapshots, for which Git runs what a repository in an agent's folder names"
        return Finding(what, State.WARNING, found, 'set "snapshot": false, unless no agent can write there')
    return Finding(what, State.OK, "the server's configuration names this library's plugin")


def look_at_busy(make_client: Callable[[], Client], *, running: Running, stray: str) -> Finding:
    """Whether the server has busy sessions without a running turn in the rows, checked twice.

    Only sessions that were used within a day are checked. If the server was restarted since, the check makes it open
    their directories again.
    """
    what = "busy"
    try:
        with make_client() as client:
            busy = _busy(client)
            strays = busy.keys() - running()
            if strays:  # a turn may have begun or ended just now
                time.sleep(_SETTLE)
                busy = {key: info for key, info in _busy(client).items() if key in strays}
                strays = busy.keys() - running()
    except OpencodeError as error:
        return Finding(what, State.WARNING, f"could not be seen: {error}")
    if not strays:
        return Finding(what, State.OK, "no session is busy in which no turn runs")
    shown = ", ".join(
        f"{info.id} ({one_line(info.title, limit=40)}, in {info.directory})"
        for info in (busy[key] for key in sorted(strays)[:MOST_SHOWN])
    )
    more = f" and {len(strays) - MOST_SHOWN} more" if len(strays) > MOST_SHOWN else ""
    return Finding(what, State.WARNING, f"without a turn that runs: {shown}{more}", stray)


def _busy(client: Client) -> dict[str, SessionInfo]:
    """The busy sessions, without those of sub-agents, by id."""
    since = (time.time() - _RECENT) * 1000
    recent = {}
    for info in client.list(all_directories=True):
        if info.updated < since:
            break
        recent[info.id] = info
    directories = {info.directory for info in recent.values()}
    busy = {key for directory in directories for key in client.status(directory=directory)}
    return {key: info for key, info in recent.items() if key in busy and info.parent_id is None}


def describe_turns(total: int, states: Mapping[str, tuple[int, Sequence[object]]]) -> str:
    """The turns of a table, for people: how many, and how many in each state.

    Args:
        total: All of them, also those that have ended.
        states: By a state that people can read: the number, and the keys of at most `MOST_SHOWN`.
    """
    said = [f"{total:,} turns"]
    for state, (number, keys) in states.items():
        if number:
            shown = ", ".join(map(str, keys)) + (", …" if number > len(keys) else "")
            said.append(f"{number:,} {state} ({shown})")
    return ", ".join(said)


def look_at_memory(make_client: Callable[[], Client]) -> Finding:
    """The server's memory and the size of its database, if it runs on this machine."""
    what = "memory"
    with make_client() as client:
        server = local_server(client.address.base_url)
    if server is None:
        return Finding(what, State.OK, "not seen: the server is on another machine, or another user's")
    database = server.database_size()
    found = f"{_size(server.memory)} of {_size(server.machine)} (process {server.pid})" + (
        f"; its database has {_size(database)}" if database else ""
    )
    if server.memory > server.machine / 2:
        mend = "restart it, as it keeps every directory in memory; serve --recycle-at does so by itself"
        return Finding(what, State.WARNING, found, mend)
    return Finding(what, State.OK, found)


def _size(size: int) -> str:
    return f"{size / 1024**3:,.1f} GB" if size >= 1024**3 else f"{size / 1024**2:,.0f} MB"


def look_at_project_config(make_client: Callable[[], Client]) -> Finding:
    """Whether the server reads configuration from the folder of an agent, where the agent could write it.

    The check makes the server open a temporary folder, which costs it about 15 MB until its restart (1.18.33).
    """
    what = "project config"
    mend = (
        "start the server with OPENCODE_DISABLE_PROJECT_CONFIG=true and OPENCODE_DISABLE_EXTERNAL_SKILLS=true"
    )
    user = secrets.token_hex(8)
    try:
        with TemporaryDirectory(prefix="opencode-sessions-") as folder, make_client() as client:
            Path(folder).chmod(0o755)  # the server may run as another user
            Path(folder, "opencode.json").write_text(json.dumps({"username": user}), encoding="utf-8")
            taken = run_sync(blocking_wire(client).takes_config(folder, "opencode.json", user))
    except OpencodeError as error:
        return Finding(what, State.WARNING, f"could not be seen: {error}", mend)
    if taken is None:
        found = "could not be seen: the server does not see the folders of this machine"
        return Finding(what, State.WARNING, found, f"ask on the server's own machine; or {mend}")
    if taken:
        found = "the server obeys opencode.json and .opencode in the folder of an agent, who may write there"
        return Finding(what, State.WARNING, found, mend)
    return Finding(what, State.OK, "the server ignores opencode.json and .opencode in the folder of an agent")
