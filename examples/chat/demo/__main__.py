"""`make demo`: the chat in a browser, on this machine.

    python -m demo [--check] [--offline] [--port 8000] [--state FOLDER]

With `--check` it has a conversation with itself, as a browser would, tells what it saw, and exits with 0 or 1.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

import uvicorn

from demo.stage import LINGER, Stage, free_port, set_up
from opencode_sessions.errors import OpencodeError


def main() -> int:
    """Run it; the exit code comes back."""
    asked = _arguments()
    print("starting OpenCode …", flush=True)
    with set_up(
        asked.state, offline=asked.offline or asked.check, pace=0.0 if asked.check else 0.03
    ) as stage:
        port = free_port(0 if asked.check else asked.port)
        if asked.check:
            from demo.check import check  # noqa: PLC0415 - not before Django is set up

            return check(stage, port)

        from chat.door import link_for  # noqa: PLC0415 - likewise

        address = f"http://127.0.0.1:{port}"
        print(f"\n    {address}{link_for('demo')}\n")
        print("  logs you in as “demo”; it holds once. After that:", address)
        print("  another link:", _command(stage, address))
        print(f"  answers come from {stage.answered_by}, through {stage.server}")
        if stage.agents:
            print(f"  each conversation has a folder for its agent, in {stage.agents}/folders")
        print("  Ctrl-C stops all of it; what is said is kept", flush=True)
        uvicorn.run(
            "project.asgi:application",
            port=port,
            log_level="critical",  # it logs a trace for each page that is open at the end; Django logs what fails
            lifespan="off",
            timeout_graceful_shutdown=LINGER,
        )
    return 0


def _command(stage: Stage, address: str) -> str:
    """What prints another link, as it can be pasted into a shell."""
    manage = Path(__file__).parents[1] / "manage.py"
    words = [sys.executable, os.path.relpath(manage), "login_link", "demo", "--at", address]
    return shlex.join(["env", f"CHAT_STATE={stage.state}", *words])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="The reference chat, on this machine.")
    parser.add_argument(
        "--check", action="store_true", help="have one conversation, tell what it saw, and exit"
    )
    parser.add_argument("--offline", action="store_true", help="take the scripted model, whatever is set up")
    parser.add_argument(
        "--port", type=int, default=8000, help="where it listens; another one if that is taken"
    )
    parser.add_argument("--state", type=Path, default=Path(".state/chat"), help="where all of it is kept")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OpencodeError as error:
        sys.exit(f"✗ {error}")
