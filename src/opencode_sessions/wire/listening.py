"""Check before the start of a server whether it can listen at an address."""

from __future__ import annotations

import errno
import os
import socket

from opencode_sessions.errors import ServerStartError

__all__ = ["free_port"]

_REMEDIES = {
    errno.EADDRINUSE: "stop what listens there, or pass port 0 for a free one",
    errno.EADDRNOTAVAIL: "this machine has no such address; pass 127.0.0.1, or 0.0.0.0 to let other machines in",
    errno.EACCES: "this user may not; pass a port from 1024 on, or port 0 for a free one",
}
_UNKNOWN_NAME = "the name does not resolve; pass an address of this machine, such as 127.0.0.1"


def free_port(hostname: str, port: int) -> int:
    """The port, or a free one for 0, after a check that a server can listen there.

    Raises:
        ServerStartError: It cannot. The message says why, and what to do.
    """
    family = socket.AF_INET6 if ":" in hostname else socket.AF_INET
    try:
        with socket.create_server((hostname, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        number = error.errno or 0
        remedy = _UNKNOWN_NAME if number < 0 else _REMEDIES.get(number, "pass another address or port")
        reason = os.strerror(number) if number > 0 else "name or service not known"
        raise ServerStartError(f"cannot listen at {hostname}, port {port} ({reason}): {remedy}") from error
