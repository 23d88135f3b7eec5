"""`OpencodeServer`: an `opencode serve` of our own, from its start to the end of all that it ran."""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from opencode_sessions.errors import ConfigurationError, ServerStartError
from opencode_sessions.wire.address import Address
from opencode_sessions.wire.binary import find_binary
from opencode_sessions.wire.data_folder import DataFolder
from opencode_sessions.wire.process import ProcessTree
from opencode_sessions.wire.v1 import answers, routes

__all__ = ["OpencodeServer"]

_log = logging.getLogger("opencode_sessions.server")

_GRACE = 3.0  # seconds from SIGTERM to SIGKILL; in a turn the server does not heed the former
_PROBE_TIMEOUT = 1.0  # a request that meets a server while it starts can hang for good
_PROBE_PAUSE = 0.05
_PORT_ATTEMPTS = 3  # somebody may take a free port between our look and the server's
_TAIL_LINES = 20
_TAIL_BYTES = 8_000


class OpencodeServer:
    """A managed `opencode serve`.

    ::

        with OpencodeServer(config={"model": "…"}) as server:
            client = Client(server.url, password=server.password)

    One data folder has one server: a second one on it is refused. The server and the commands that its
    agents run end with `stop`, with the interpreter, and when this process is killed.

    The server inherits this process's environment, provider keys included, except for what would tie it
    to the user's own OpenCode: `HOME` and the XDG folders point into the data folder, and `OPENCODE_*`
    variables are not handed on. Not for use by several threads at once.

    Args:
        binary: The path of `opencode`; found by `find_binary` when None.
        directory: The working directory of the server; `work` in the data folder when None.
        data: The folder of its database, config and logs; a temporary one, removed by `stop`, when None.
        port: Where it listens; 0 for a free one.
        hostname: The address that it listens on.
        password: For HTTP Basic; a random one when None.
        username: For HTTP Basic.
        config: OpenCode's configuration, the only one that it is given.
        env: Variables that override the environment described above.
        log: What it prints is appended here; `server.log` in the data folder when None.
        startup_timeout: Seconds until it must answer.
    """

    def __init__(
        self,
        *,
        binary: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        data: str | os.PathLike[str] | None = None,
        port: int = 0,
        hostname: str = "127.0.0.1",
        password: str | None = None,
        username: str = "opencode",
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        log: str | os.PathLike[str] | None = None,
        startup_timeout: float = 30.0,
    ) -> None:
        self.hostname = hostname
        self.username = username
        self.password = password or secrets.token_urlsafe(24)
        self.config = config
        self._binary = binary
        self._given_directory = None if directory is None else Path(directory).absolute()
        self._given_data = None if data is None else Path(data).absolute()
        self._given_log = None if log is None else Path(log).absolute()
        self._given_port = port
        self._env = dict(env or {})
        self._startup_timeout = startup_timeout
        self._folder: DataFolder | None = None
        self._port = port
        self._version: str | None = None
        self._tree: ProcessTree | None = None
        self._owner = os.getpid()

    def __repr__(self) -> str:
        where = f"pid {self._tree.pid} at {self.url}" if self._tree else "not running"
        return f"<OpencodeServer {where}>"

    @property
    def url(self) -> str:
        """The base URL, with no slash at its end."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"http://{host}:{self.port}"

    @property
    def port(self) -> int:
        """Where it listens.

        Raises:
            ConfigurationError: It has not been started, and was not given a port.
        """
        if not self._port:
            raise self._not_started("port")
        return self._port

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group too.

        Raises:
            ConfigurationError: It does not run.
        """
        if self._tree is None:
            raise self._not_started("process")
        return self._tree.pid

    @property
    def version(self) -> str:
        """The version that the server reports.

        Raises:
            ConfigurationError: It has not been started.
        """
        if self._version is None:
            raise self._not_started("version")
        return self._version

    @property
    def data(self) -> Path:
        """The data folder.

        Raises:
            ConfigurationError: It has not been started, and was not given a folder.
        """
        if self._folder is not None:
            return self._folder.path
        if self._given_data is not None:
            return self._given_data
        raise self._not_started("data folder")

    @property
    def directory(self) -> Path:
        """The working directory, where sessions work unless they are told otherwise."""
        return self._given_directory or self.data / "work"

    @property
    def log_path(self) -> Path:
        """The file that has what the server prints."""
        return self._given_log or self.data / "server.log"

    @property
    def running(self) -> bool:
        """Does its process live?"""
        return self._tree is not None and self._tree.exit_code is None

    def environment(self) -> dict[str, str]:
        """The variables by which a client in another process finds this server, password included."""
        return {
            "OPENCODE_BASE_URL": self.url,
            "OPENCODE_SERVER_PASSWORD": self.password,
            "OPENCODE_SERVER_USERNAME": self.username,
        }

    def log_tail(self, *, since: int = 0) -> str:
        """The last lines of its log, of those after `since` bytes."""
        with self.log_path.open("rb") as log:
            log.seek(max(since, self.log_path.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ConfigurationError: It runs already, or its working directory does not exist.
            ServerNotInstalledError: There is no `opencode` to run.
            ServerStartError: The port or the data folder is taken, or the server died or did not answer.
        """
        if self._tree is not None:
            raise ConfigurationError(f"{self!r} has been started already: call restart(), or stop() first")
        binary = find_binary(self._binary)
        if self._given_directory is not None and not self._given_directory.is_dir():
            raise ConfigurationError(
                f"the working directory {self._given_directory} does not exist: create it first"
            )
        self._owner = os.getpid()
        atexit.register(self._at_exit)
        try:
            self._folder = DataFolder(self._given_data)
            self.directory.mkdir(parents=True, exist_ok=True)
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self._launch(binary)
        except BaseException:
            self.stop()
            raise
        _log.info("opencode %s listens at %s (pid %d)", self._version, self.url, self.pid)
        return self

    def stop(self) -> None:
        """End it and all that it runs, within a few seconds; remove a temporary data folder. Idempotent."""
        atexit.unregister(self._at_exit)
        self._end()
        if self._folder is not None:
            self._folder.release()
            self._folder = None
        self._port = self._given_port

    def kill(self) -> None:
        """SIGKILL it and all that it runs, as a crash would; it can be restarted on what it left."""
        if self._tree is not None:
            self._tree.kill()
            self._tree = None

    def restart(self) -> None:
        """End it if it still runs, and start it again: same port, password and data.

        Raises:
            ConfigurationError: It has not been started.
            ServerStartError: As of `start`; then it is stopped.
        """
        if self._folder is None:
            raise self._not_started("data folder")
        self._end()
        try:
            self._launch(find_binary(self._binary))
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- the process -----------------------------------------------------------------------------

    def _launch(self, binary: Path) -> None:
        chosen_by_us = not self._port
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = _probe_port(self.hostname, 0 if chosen_by_us else self._port)
            try:
                self._launch_once(binary)
            except ServerStartError:
                if not chosen_by_us or attempt == _PORT_ATTEMPTS or not self._lost_its_port():
                    raise
            else:
                return

    def _launch_once(self, binary: Path) -> None:
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._tree = ProcessTree(
            [str(binary), "serve", "--hostname", self.hostname, "--port", str(self.port)],
            directory=self.directory,
            environ=self._environ(),
            log=self.log_path,
        )
        try:
            self._version = self._wait_until_healthy(self._tree, log_start)
        except BaseException:
            self.kill()
            raise

    def _end(self) -> None:
        if self._tree is not None:
            self._tree.stop(grace=_GRACE)
            self._tree = None

    def _lost_its_port(self) -> bool:
        try:
            _probe_port(self.hostname, self.port)
        except ServerStartError:
            return True
        return False

    def _environ(self) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OPENCODE_")}
        environ |= {
            "HOME": str(self.data),
            "XDG_CACHE_HOME": str(self.data / ".cache"),
            "XDG_CONFIG_HOME": str(self.data / ".config"),
            "XDG_DATA_HOME": str(self.data / ".local" / "share"),
            "XDG_STATE_HOME": str(self.data / ".local" / "state"),
            "PWD": str(self.directory),
            "OPENCODE_DISABLE_AUTOUPDATE": "true",
            "OPENCODE_SERVER_PASSWORD": self.password,
            "OPENCODE_SERVER_USERNAME": self.username,
        }
        if self.config is not None:
            environ["OPENCODE_CONFIG_CONTENT"] = json.dumps(dict(self.config))
        return environ | self._env

    def _wait_until_healthy(self, tree: ProcessTree, log_start: int) -> str:
        """The version, once the server answers and is ours: only ours has this password, and it lives."""
        headers = Address(self.url, self.username, self.password).headers()
        deadline = time.monotonic() + self._startup_timeout
        seen = "nothing answered"
        with httpx2.Client(headers=headers, timeout=_PROBE_TIMEOUT, trust_env=False) as client:
            while tree.exit_code is None:
                try:
                    answer = client.get(self.url + routes.health().path)
                    health = (
                        answers.parse_health(answer.json()) if answer.status_code == httpx2.codes.OK else None
                    )
                except (httpx2.HTTPError, ValueError, AttributeError) as error:
                    seen = f"the last attempt gave {type(error).__name__}"
                else:
                    if health is not None and tree.exit_code is None:
                        return health.version
                    seen = f"the last answer was {answer.status_code} and not healthy"
                if time.monotonic() > deadline:
                    raise self._start_error(
                        f"opencode did not answer at {self.url} within {self._startup_timeout:g} s ({seen})",
                        log_start,
                    )
                time.sleep(_PROBE_PAUSE)
        raise self._start_error(f"opencode died at its start with exit code {tree.exit_code}", log_start)

    def _start_error(self, what: str, log_start: int) -> ServerStartError:
        tail = self.log_tail(since=log_start)
        return ServerStartError(f"{what}; its log ends with:\n{tail or '(nothing)'}", log_tail=tail)

    def _not_started(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"a server that is not running has no {what}: use it in a with statement, or start() it"
        )

    def _at_exit(self) -> None:
        if os.getpid() == self._owner:  # a fork runs this too, and the server is not its own
            self.stop()


def _probe_port(hostname: str, port: int) -> int:
    """The port, or a free one for 0, after a look that the server can have it."""
    family = socket.AF_INET6 if ":" in hostname else socket.AF_INET
    try:
        with socket.create_server((hostname, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ServerStartError(
            f"cannot listen at {hostname}, port {port} ({error.strerror}): "
            "stop what listens there, or pass port 0 for a free one"
        ) from error
