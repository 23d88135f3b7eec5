"""The fake server as a process of its own: `python -m opencode_sessions.testing.v2 serve --port 4096 --data DIR`.

It understands what `opencode serve` is started with: `--hostname`, `--port`, and the environment variables
`OPENCODE_CONFIG_CONTENT`, `OPENCODE_PASSWORD` and `OPENCODE_SERVER_PASSWORD`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from opencode_sessions.testing.v2.core import VERSION
from opencode_sessions.testing.v2.server import Service

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m opencode_sessions.testing.v2")
    parser.add_argument("command", nargs="?", choices=["serve"], default="serve")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--hostname", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--data", type=Path, help="the folder of what it keeps")
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    parser.add_argument("--heartbeat", type=float, default=15.0)
    parser.add_argument("--retry-base", type=float, default=2.0)
    given = parser.parse_args(arguments)
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    data = given.data or Path(home) / "opencode"
    data.mkdir(parents=True, exist_ok=True)
    password = os.environ.get("OPENCODE_PASSWORD") or os.environ.get("OPENCODE_SERVER_PASSWORD")
    username = os.environ.get("OPENCODE_SERVER_USERNAME", "opencode")
    service = Service(
        json.loads(os.environ.get("OPENCODE_CONFIG_CONTENT") or "{}"),
        data=data,
        directory=given.directory,
        hostname=given.hostname,
        port=given.port,
        credentials=(username, password) if password else None,
        heartbeat=given.heartbeat,
        retry_base=given.retry_base,
    )
    asyncio.run(_serve(service, given.hostname))


async def _serve(service: Service, hostname: str) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    port = await service.start()
    sys.stdout.write(f"server listening on http://{hostname}:{port}\n")
    sys.stdout.flush()
    await ended.wait()
    await service.stop()


if __name__ == "__main__":
    main()
