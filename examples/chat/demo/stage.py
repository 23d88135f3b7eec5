"""All that the chat needs, started and stopped together: a folder, the OpenCode server, the model, Django, uvicorn."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import uvicorn
from django.core.management import call_command
from django.db.models.signals import post_save

from demo.script import rules
from opencode_sessions import ASK_FIRST, OpencodeServer, allow, ask, permission_config
from opencode_sessions.jobs.thread_pool import ThreadPool
from opencode_sessions.testing import ScriptedModel

__all__ = ["LINGER", "PROVIDER_KEYS", "Stage", "agents_of", "free_port", "served", "set_up"]

BAKERY = Path(__file__).parent / "bakery"
SCRIPTED = "the scripted model"

PROVIDER_KEYS = (
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GOOGLE_GENERATIVE_AI_API_KEY",
    "GEMINI_API_KEY",
    "OPENROUTER_API_KEY",
    "MISTRAL_API_KEY",
    "GROQ_API_KEY",
    "DEEPSEEK_API_KEY",
    "XAI_API_KEY",
)
"""A provider is set up where one of these is in the environment; the OpenCode server reads it itself."""

LINGER = 1
"""Seconds that an open page may keep the chat's server from stopping."""

PATIENCE = 30
LOOK = 0.5

# The rules of every agent, so that sub-agents ask as well: see `chat.policy`.
_RULES = permission_config([*ASK_FIRST, allow("task"), ask("doom_loop")])
_POLICY = {"permission": _RULES, "autoupdate": False, "share": "disabled"}


@dataclass(frozen=True, slots=True)
class Stage:
    """What was set up.

    Attributes:
        state: The folder that everything is in.
        agents: The folder in which each conversation has one for its agent; None: on another machine, perhaps.
        answered_by: Who answers, for people.
        server: The OpenCode server, for people.
    """

    state: Path
    agents: Path | None
    answered_by: str
    server: str


@contextmanager
def set_up(state: Path, *, offline: bool, pace: float = 0.03) -> Iterator[Stage]:
    """Start what the chat needs beside its own server, and set Django up to use it.

    Args:
        state: The folder for all that is left behind; made if it is not there.
        offline: Take the scripted model, even where a provider is set up.
        pace: Of the scripted model: seconds before each word.
    """
    state = state.absolute()
    state.mkdir(parents=True, exist_ok=True)
    (state / ".gitignore").write_text("*\n", encoding="utf-8")
    os.environ |= {"CHAT_STATE": str(state), "DJANGO_SETTINGS_MODULE": "project.settings"}
    with ExitStack() as stack:
        if os.environ.get("OPENCODE_BASE_URL") and not offline:
            answered_by, server = "its own model", os.environ["OPENCODE_BASE_URL"]
        else:
            os.environ["CHAT_SANDBOX"] = str(agents_of(state))
            managed, answered_by = stack.enter_context(
                _managed(state / "opencode", offline=offline, pace=pace)
            )
            os.environ |= managed.environment()
            os.environ["CHAT_SERVER_HAS_RULES"] = "1"
            server = f"OpenCode {managed.version} at {managed.url}"
        os.environ["CHAT_SCRIPTED"] = "1" if answered_by == SCRIPTED else "0"
        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        _furnish()
        _warm_up()
        stack.callback(_let_go)
        agents = os.environ.get("CHAT_SANDBOX")
        yield Stage(state, Path(agents) if agents else None, answered_by, server)


def _warm_up() -> None:
    """The server's first look at a folder takes it a second: now, rather than when somebody waits for it."""
    from opencode_sessions.django import client  # noqa: PLC0415 - once Django is set up

    client().status()


def _let_go() -> None:
    """Leave what runs to the next start, before the server that it runs on is stopped."""
    from opencode_sessions.django import host  # noqa: PLC0415 - once Django is set up

    logging.getLogger("opencode_sessions").setLevel(logging.CRITICAL)  # what breaks from here on, we break
    if isinstance(found := host.dispatcher(), ThreadPool):
        found.stop()


def agents_of(state: Path) -> Path:
    """Where agents work: in no Git worktree, whose root the server would take for the agent's."""
    if not any((place / ".git").exists() for place in (state, *state.parents)):
        return state / "agents"
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "opencode-sessions" / f"chat-{hashlib.sha256(str(state).encode()).hexdigest()[:12]}"


def _furnish() -> None:
    """From now on, a new conversation's folder has the bakery in it."""
    from chat.models import Conversation  # noqa: PLC0415 - once Django is set up
    from chat.sandbox import SANDBOX  # noqa: PLC0415 - likewise

    def lay_out(instance: Conversation, *, created: bool, **_: object) -> None:
        if created and SANDBOX and instance.branched_from_id is None:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(BAKERY, SANDBOX.create(instance), dirs_exist_ok=True, ignore=ignore)

    post_save.connect(lay_out, sender=Conversation, weak=False, dispatch_uid="demo")


def free_port(wanted: int) -> int:
    """That port of this machine, or any that is free for 0 or where it is taken."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise OSError("no port of this machine is free")


@contextmanager
def served(port: int) -> Iterator[None]:
    """The chat itself, in a thread of this process.

    Raises:
        TimeoutError: It does not start.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            "project.asgi:application",
            port=port,
            log_level="critical",  # it logs a trace for each page that is open at the end; Django logs what fails
            lifespan="off",
            timeout_graceful_shutdown=LINGER,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise TimeoutError("the chat's own server did not start")
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@contextmanager
def _managed(data: Path, *, offline: bool, pace: float) -> Iterator[tuple[OpencodeServer, str]]:
    """A server of our own, and who answers behind it."""
    key = next((name for name in PROVIDER_KEYS if os.environ.get(name)), None)
    with ExitStack() as stack:
        options: dict[str, Any] = {"config": _POLICY, "pass_env": PROVIDER_KEYS}
        if offline or key is None:
            model = stack.enter_context(ScriptedModel(rules(pace)))
            options = {"config": {**model.config(), **_POLICY}, "models": {}}
            answered_by = SCRIPTED
        elif name := os.environ.get("CHAT_MODEL"):
            options["config"], answered_by = {**_POLICY, "model": name}, name
        else:
            answered_by = f"the provider of {key}"
        server = OpencodeServer(data=data, **options)
        stack.enter_context(server)
        stack.enter_context(_watched(server))
        yield server, answered_by


@contextmanager
def _watched(server: OpencodeServer) -> Iterator[None]:
    """Started again whenever it dies: turns that it was in the middle of go on."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            if not server.running:
                print("OpenCode died, and is started again", flush=True)
                server.restart()

    thread = threading.Thread(target=watch, name="watch over OpenCode", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
