"""What a doctor looks at, whoever asks: Python, the server, its binary."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from opencode_sessions.errors import (
    CredentialsRefusedError,
    OpencodeError,
    RequestTimedOutError,
    ServerNotInstalledError,
    ServerUnreachableError,
    UnsupportedVersionError,
)
from opencode_sessions.wire.api import SUPPORTED
from opencode_sessions.wire.binary import find_binary
from opencode_sessions.wire.clients import Client

__all__ = ["Finding", "State", "look_at_binary", "look_at_python", "look_at_server"]

_OLDEST_PYTHON = (3, 11)


class State(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        mend: What to do about it, if anything is to be done.
    """

    what: str
    state: State
    found: str
    mend: str = ""

    @property
    def broken(self) -> bool:
        """Does it keep something from working?"""
        return self.state in (State.MISSING, State.BROKEN)


def look_at_python() -> Finding:
    """Its version."""
    found = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("Python", State.BROKEN, found, "Python 3.11 or newer")
    return Finding("Python", State.OK, found)


def look_at_binary(*, needed: bool) -> Finding:
    """The `opencode` that would be started here."""
    what = "opencode"
    try:
        path = find_binary()
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - the user's own binary
    except ServerNotInstalledError as error:
        return Finding(what, State.MISSING if needed else State.WARNING, "not found", str(error))
    except (OSError, subprocess.SubprocessError) as error:
        mend = "install it anew: npm install opencode-ai"
        return Finding(what, State.BROKEN if needed else State.WARNING, f"{path} does not run: {error}", mend)
    return Finding(what, State.OK, f"{said.stdout.strip()} at {path} (supported: {SUPPORTED})")


def look_at_server(make_client: Callable[[], Client], *, asked_for: bool, start: str) -> Finding:
    """What answers where a client asks.

    Args:
        make_client: A client of it, which is closed here.
        asked_for: It was named, so it is to be there.
        start: How to start one.
    """
    what = "server"
    try:
        with make_client() as client:
            address = client.address.base_url
            number = client.health().version
    except (ServerUnreachableError, RequestTimedOutError):
        state = State.MISSING if asked_for else State.WARNING
        return Finding(what, state, f"nothing answers at {address}", start)
    except CredentialsRefusedError:
        mend = "set OPENCODE_SERVER_PASSWORD to the server's"
        return Finding(what, State.BROKEN, f"{address} refuses the credentials", mend)
    except UnsupportedVersionError as error:
        return Finding(what, State.BROKEN, f"OpenCode {error.found} at {address}", f"a version {SUPPORTED}")
    except OpencodeError as error:
        return Finding(what, State.BROKEN, str(error), f"the URL of an OpenCode server, {SUPPORTED}")
    return Finding(what, State.OK, f"{number} at {address} (supported: {SUPPORTED})")
