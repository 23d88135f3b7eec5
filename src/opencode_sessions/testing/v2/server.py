"""`FakeServer`: a stand-in for an OpenCode 2.x server, in a thread of this process."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.v2.branches import BranchRoutes, add_branch_routes
from opencode_sessions.testing.v2.bus import Bus
from opencode_sessions.testing.v2.core import Config, Core
from opencode_sessions.testing.v2.database import Database
from opencode_sessions.testing.v2.executions import Executions
from opencode_sessions.testing.v2.forms import Forms
from opencode_sessions.testing.v2.http import HttpServer, Router
from opencode_sessions.testing.v2.permissions import Permissions
from opencode_sessions.testing.v2.prompt_routes import PromptRoutes, add_prompt_routes
from opencode_sessions.testing.v2.routes import add_server_routes
from opencode_sessions.testing.v2.runner import Runner
from opencode_sessions.testing.v2.session_routes import SessionRoutes, add_session_routes
from opencode_sessions.testing.v2.sessions import Sessions
from opencode_sessions.testing.v2.shells import Shells
from opencode_sessions.testing.v2.subagents import Subagents
from opencode_sessions.testing.v2.tools import Tools

__all__ = ["FakeServer", "Service"]

logger = logging.getLogger("opencode_sessions.testing.v2")


class Service:
    """The server on an event loop: everything but its thread.

    Args:
        config: OpenCode's configuration, such as that of `ScriptedModel.config`.
        data: The folder of what it keeps.
        directory: Where it works if a request names no directory.
        hostname: The address that it listens on.
        port: The port; 0 for any free one.
        credentials: The user name and password that it asks for; None for none.
        heartbeat: Seconds between two heartbeats of an event stream.
        capacity: How many events may wait for a subscriber before its connection ends.
        retry_base: Seconds before the first repetition of a failed request to a model; each further one doubles it.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        data: Path,
        directory: Path,
        hostname: str = "127.0.0.1",
        port: int = 0,
        credentials: tuple[str, str] | None = None,
        heartbeat: float = 15.0,
        capacity: int = 4096,
        retry_base: float = 2.0,
    ) -> None:
        self._hostname, self._port = hostname, port
        self._database = Database(data / "opencode.db")
        core = Core(
            self._database,
            Bus(self._database, heartbeat=heartbeat, capacity=capacity),
            Config.read(config),
            str(directory),
            data,
            retry_base,
        )
        permissions, forms, sessions = Permissions(core), Forms(core), Sessions(core)
        self._shells = Shells(core)
        subagents = Subagents(core, sessions)
        subagents.tools = tools = Tools(core, permissions, forms, self._shells, subagents)
        subagents.executions = self._executions = Executions(core, Runner(core, tools))
        self.router = Router()
        add_server_routes(self.router, core)
        add_session_routes(self.router, SessionRoutes(core, sessions, self._executions))
        add_branch_routes(self.router, BranchRoutes(core, self._executions))
        add_prompt_routes(self.router, PromptRoutes(core, sessions, self._executions, permissions, forms))
        self._server = HttpServer(self.router, credentials)

    async def start(self) -> int:
        """Listen, and go on with what an earlier process was working on. Returns the port."""
        port = await self._server.start(self._hostname, self._port)
        self._executions.resume_claimed()
        return port

    async def stop(self) -> None:
        """Interrupt what runs, to be resumed at the next start, and close."""
        await self._server.refuse()
        await self._executions.stop()
        await self.kill()

    async def kill(self) -> None:
        """Stop at once: nothing is settled, and nothing is written from now on."""
        await self._server.kill()
        self._database.close()
        self._shells.close()


class FakeServer:
    """A stand-in for `opencode serve` of the 2.x line, in a thread of its own.

    ::

        with ScriptedModel() as model, FakeServer(model.config()) as server:
            ...  # a client of server.url

    What it keeps is in a folder, so it can be killed and started again, also as another process
    (`python -m opencode_sessions.testing.v2`).

    Args:
        config: OpenCode's configuration, such as that of `ScriptedModel.config`.
        data: The folder of what it keeps; a temporary one when None.
        directory: Where it works if a request names no directory; `work` in the data folder when None.
        port: Where to listen; 0 for a free port, which is kept when it is started again.
        password: For HTTP Basic; a random one when None, no check when empty.
        username: For HTTP Basic.
        options: `heartbeat`, `capacity` and `retry_base`, see `Service`.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        data: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        port: int = 0,
        password: str | None = None,
        username: str = "opencode",
        **options: Any,
    ) -> None:
        self.config = dict(config or {})
        self.username = username
        self.password = secrets.token_urlsafe(24) if password is None else password
        self._temporary = tempfile.TemporaryDirectory(prefix="fake-opencode-") if data is None else None
        self.data = Path(data if self._temporary is None and data is not None else self._temporary_name())
        self.directory = Path(directory) if directory is not None else self.data / "work"
        self._port = port
        self._options = options
        self._running: tuple[asyncio.AbstractEventLoop, Service, threading.Thread] | None = None

    def _temporary_name(self) -> str:
        return self._temporary.name if self._temporary else ""

    def start(self) -> Self:
        """Listen, and go on with what was being worked on. Does nothing if it runs.

        Raises:
            ConfigurationError: Something else listens on the port.
        """
        if self._running:
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        started: list[Service | OSError] = []
        ready = threading.Event()
        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=self._run, args=(loop, started, ready), name="fake-opencode", daemon=True
        )
        thread.start()
        ready.wait()
        service = started[0]
        if isinstance(service, OSError):
            raise ConfigurationError(
                f"The fake server cannot listen on port {self._port} ({service}): take another, or 0."
            ) from service
        self._running = loop, service, thread
        return self

    def _run(
        self, loop: asyncio.AbstractEventLoop, started: list[Service | OSError], ready: threading.Event
    ) -> None:
        asyncio.set_event_loop(loop)
        credentials = (self.username, self.password) if self.password else None
        service = Service(
            self.config,
            data=self.data,
            directory=self.directory,
            port=self._port,
            credentials=credentials,
            **self._options,
        )
        try:
            self._port = loop.run_until_complete(service.start())
            started.append(service)
        except OSError as error:
            loop.run_until_complete(service.kill())
            started.append(error)
            return
        finally:
            ready.set()
        loop.run_forever()
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def stop(self) -> None:
        """End as a server does that is asked to: what runs is interrupted, and resumed at the next start."""
        self._end(Service.stop)
        if self._temporary:
            self._temporary.cleanup()

    def kill(self) -> None:
        """End as a process does that is killed: nothing more is written or sent. `start` runs it again."""
        self._end(Service.kill)

    def _end(self, how: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
        if self._running:
            loop, service, thread = self._running
            asyncio.run_coroutine_threadsafe(how(service), loop).result()
            self._running = None
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def routes(self) -> list[tuple[str, re.Pattern[str]]]:
        """What there is to ask for: methods and paths. Empty if it does not run."""
        routes = self._running[1].router.routes if self._running else []
        return [(method, pattern) for method, pattern, _ in routes]

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:40123`; it stays the same when the server is started again."""
        return f"http://127.0.0.1:{self._port}"


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # for the sockets of aborted connections to be closed
