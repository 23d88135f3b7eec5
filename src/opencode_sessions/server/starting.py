"""Checks of a server that was just started: it answers, it is ours, and it has loaded the guard."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2

from opencode_sessions.errors import ServerStartError
from opencode_sessions.protocol.values import Health
from opencode_sessions.server.environment import guard_marker
from opencode_sessions.server.process_tree import ProcessTree
from opencode_sessions.wire.address import Address
from opencode_sessions.wire.detect import V1, V2
from opencode_sessions.wire.unreachable import trusted

__all__ = ["await_health", "check_guarded"]

_PROBE_TIMEOUTS = (0.1, 2.0)  # the first and the longest: a request to a server that starts can hang for good
_PROBE_PAUSE = 0.05


def await_health(tree: ProcessTree, address: Address, seconds: float) -> str:
    """The version, once the server answers and is ours: its process runs, and it accepts our password.

    Raises:
        ServerStartError: The server died, or did not answer in time.
    """
    deadline = time.monotonic() + seconds
    seen = "nothing answered"
    timeout, longest = _PROBE_TIMEOUTS
    with httpx2.Client(
        headers=address.headers(), verify=trusted(address.base_url), trust_env=False
    ) as client:
        while tree.exit_code is None:
            try:
                status, health = _ask(client, address, timeout)
            except httpx2.HTTPError as error:
                seen = f"the last attempt gave {type(error).__name__}"
                if isinstance(error, httpx2.TimeoutException):
                    timeout = min(2 * timeout, longest)
            else:
                if health is not None and tree.exit_code is None:
                    return health.version
                seen = f"the last answer was {status} and not healthy"
            if time.monotonic() > deadline:
                raise ServerStartError(
                    f"opencode did not answer at {address.base_url} within {seconds:g} s ({seen})"
                )
            time.sleep(_PROBE_PAUSE)
    raise ServerStartError(f"opencode died at its start with exit code {tree.exit_code}")


def _ask(client: httpx2.Client, address: Address, timeout: float) -> tuple[int, Health | None]:
    """The last status, and the health report, if the answer is that of a server of either line."""
    status = 0
    for call in (V1.health(), V2.health()):
        answer = client.get(address.base_url + call.request.path, timeout=timeout)
        status = answer.status_code
        try:
            health = call.parse(answer.json()) if status == httpx2.codes.OK else None
        except (ValueError, AttributeError):
            health = None
        if health is not None:
            return status, health
    return status, None


def check_guarded(address: Address, directory: Path, data: Path, seconds: float) -> None:
    """Check that the server has loaded the guard. It loads plugins when it opens a folder, and reports no failure.

    Raises:
        ServerStartError: It did not open the folder, or did not load the guard.
    """
    try:
        httpx2.get(
            f"{address.base_url}/config",
            params={"directory": str(directory)},
            headers=address.headers(),
            timeout=seconds,
            verify=trusted(address.base_url),
            trust_env=False,
        )
    except httpx2.HTTPError as error:
        raise ServerStartError(f"opencode did not open {directory} ({error!r})") from error
    if not guard_marker(data).exists():
        raise ServerStartError("opencode did not load the guard of this library, guard.js")
