"""`OpencodeServer`: an `opencode serve` of our own, from its start to the end of all its processes."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import subprocess
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from opencode_sessions.errors import ConfigurationError, ServerStartError
from opencode_sessions.server.binary import find_binary, version_of
from opencode_sessions.server.data_folder import DataFolder
from opencode_sessions.server.environment import guard_marker, server_environment
from opencode_sessions.server.process_tree import ProcessTree
from opencode_sessions.server.recycling import Recycler
from opencode_sessions.server.starting import await_health, check_guarded
from opencode_sessions.wire.address import Address
from opencode_sessions.wire.detect import is_of_v2
from opencode_sessions.wire.listening import free_port

__all__ = ["OpencodeServer"]

_log = logging.getLogger("opencode_sessions.server")

_GRACE = 3.0  # seconds from SIGTERM to SIGKILL; during a turn the server ignores SIGTERM
_PORT_ATTEMPTS = 3  # another program may take the free port before the server does
_TAIL_LINES = 20
_TAIL_BYTES = 8_000


class OpencodeServer:
    """A managed `opencode serve`, of the 1.x line or the 2.x line.

    ::

        with OpencodeServer(config={"model": "…"}) as server:
            client = Client(server.url, password=server.password)

    A data folder can have only one server; a second one is refused. The server and the commands of its agents end with
    `stop`, with the interpreter, and when this process is killed.

    The server gets only a part of this process's environment: the variables that every program needs (`PATH`, the
    locale, `TMPDIR`, proxies and certificates), those in `pass_env`, and the keys of the providers that `config` names.
    Those are `{env:NAME}`, `ANTHROPIC_API_KEY` for the provider `anthropic`, and the `env` of each provider in
    `models`. `HOME` and the XDG folders are in the data folder. The commands of agents get neither those keys nor the
    server's password.

    The server loads a plugin of this library, which hides them and closes ways around the rules (docs/security.md). A
    server of the 2.x line does not load it. The server makes no snapshots, unless `config` enables them. Use the object
    in one thread at a time.

    Args:
        binary: The path of `opencode`; by default `find_binary` finds it.
        directory: The working directory of the server; by default `work` in the data folder.
        data: The folder of its database, config and logs; by default a temporary one, which `stop` removes.
        port: The port; 0 for a free one.
        hostname: The address on which it listens.
        password: The password for HTTP Basic; by default a random one.
        username: The user name for HTTP Basic.
        config: OpenCode's configuration. The server gets no other one.
        models: The catalogue of models, in the format of models.dev; by default the server's own. Pass `{}` if `config`
            defines every model that you use. The server keeps the catalogue once for each directory. Its own costs
            95 MB and a second each, an empty one 10 MB and 0.3 s (1.18.33).
        project_config: Whether the folder of an agent may configure the server. If not, the server ignores its
            `opencode.json`, `.opencode` (plugins, tools, agents, commands, skills), MCP servers and `AGENTS.md`, and
            skills in `.claude` and `.agents`. It still reads the `AGENTS.md` of subfolders, and imports the files in
            `.opencode/plugin`, so that their top-level code runs in the server (1.18.33). Only a folder in which the
            agent cannot write `.opencode` prevents that.
        pass_env: The names of more variables of this process for the server, such as a provider's key.
        env: Variables, with their values, for the server and the commands of agents. They override the others.
        log: The file for the server's output; by default `server.log` in the data folder.
        startup_timeout: Seconds within which it must answer.
        recycle_at: The memory in bytes above which the server is restarted, with the same port, password and data; on
            Linux only. The server keeps every directory of an agent in memory until it ends (1.18.33). None: never.
        recycle_grace: Seconds for busy sessions to end before such a restart. Turns that still run resume afterwards,
            as after a crash. It is also the least time between two such restarts.
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
        models: Mapping[str, Any] | None = None,
        project_config: bool = False,
        pass_env: Collection[str] = (),
        env: Mapping[str, str] | None = None,
        log: str | os.PathLike[str] | None = None,
        startup_timeout: float = 30.0,
        recycle_at: int | None = None,
        recycle_grace: float = 60.0,
    ) -> None:
        self.hostname = hostname
        self.username = username
        self.password = password or secrets.token_urlsafe(24)
        self.config = config
        self.models = models
        self.project_config = project_config
        self._binary = binary
        self._given_directory = None if directory is None else Path(directory).absolute()
        self._given_data = None if data is None else Path(data).absolute()
        self._given_log = None if log is None else Path(log).absolute()
        self._given_port = port
        self._pass_env = frozenset(pass_env)
        self._env = dict(env or {})
        self._startup_timeout = startup_timeout
        self._folder: DataFolder | None = None
        self._port = port
        self._version: str | None = None
        self._v2 = False
        self._tree: ProcessTree | None = None
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._recycler: Recycler | None = None
        if recycle_at is not None:
            self._recycler = Recycler(self, self._lock, limit=recycle_at, grace=recycle_grace)

    def __repr__(self) -> str:
        where = f"pid {self._tree.pid} at {self.url}" if self._tree else "not running"
        return f"<OpencodeServer {where}>"

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"http://{host}:{self.port}"

    @property
    def port(self) -> int:
        """The port.

        Raises:
            ConfigurationError: The server has not been started, and no port was given.
        """
        if not self._port:
            raise self._not_started("port")
        return self._port

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group.

        Raises:
            ConfigurationError: The server does not run.
        """
        with self._lock:
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
            ConfigurationError: The server has not been started, and no folder was given.
        """
        if self._folder is not None:
            return self._folder.path
        if self._given_data is not None:
            return self._given_data
        raise self._not_started("data folder")

    @property
    def directory(self) -> Path:
        """The working directory, which sessions use by default."""
        return self._given_directory or self.data / "work"

    @property
    def log_path(self) -> Path:
        """The file with the server's output."""
        return self._given_log or self.data / "server.log"

    @property
    def running(self) -> bool:
        """Whether its process runs. During a restart, the call waits."""
        with self._lock:
            return self._tree is not None and self._tree.exit_code is None

    def environment(self) -> dict[str, str]:
        """The variables with which a client in another process finds this server, including the password."""
        return {
            "OPENCODE_BASE_URL": self.url,
            "OPENCODE_SERVER_PASSWORD": self.password,
            "OPENCODE_SERVER_USERNAME": self.username,
        }

    def log_tail(self, *, since: int = 0) -> str:
        """The last lines of its log, after the first `since` bytes."""
        with self.log_path.open("rb") as log:
            log.seek(max(since, self.log_path.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            ConfigurationError: It runs already, or its working directory does not exist.
            ServerNotInstalledError: There is no `opencode` to run.
            ServerStartError: The port or the data folder is in use. Or the server died, did not answer, or did not load
                the guard. Or `recycle_at` is less than its memory after the start.
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
            self._folder.close_files()
            if self._recycler is not None:
                self._recycler.start()
        except BaseException:
            self.stop()
            raise
        _log.info("opencode %s listens at %s (pid %d)", self._version, self.url, self.pid)
        return self

    def stop(self) -> None:
        """End the server and all its processes, within a few seconds; remove a temporary data folder. Idempotent."""
        atexit.unregister(self._at_exit)
        if self._recycler is not None:
            self._recycler.end()
        with self._lock:
            self._end()
            if self._folder is not None:
                self._folder.release()
                self._folder = None
            self._port = self._given_port

    def kill(self) -> None:
        """Send SIGKILL to the server and all its processes, as in a crash. `restart` uses the same data."""
        with self._lock:
            if self._tree is not None:
                self._tree.kill()
                self._tree = None

    def restart(self) -> None:
        """End the server if it still runs, and start it again with the same port, password and data.

        Raises:
            ConfigurationError: It has not been started.
            ServerStartError: As in `start`; the server is then stopped.
        """
        if self._folder is None:
            raise self._not_started("data folder")
        try:
            with self._lock:
                self._end()
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
            self._port = free_port(self.hostname, 0 if chosen_by_us else self._port)
            try:
                self._launch_once(binary)
            except ServerStartError:
                if not chosen_by_us or attempt == _PORT_ATTEMPTS or not self._lost_its_port():
                    raise
            else:
                return

    def _launch_once(self, binary: Path) -> None:
        """Start it as a server of the V1 line, and again as one of the V2 line if it turns out to be that."""
        if self._v2:
            self._run(binary)
            return
        try:
            self._run(binary)
        except ServerStartError:
            if not _is_of_v2(binary):
                raise
        else:
            if not is_of_v2(self.version):
                return
            self._end()
        self._v2 = True
        _log.warning(
            "%s is of the 2.x line, which does not load the guard of this library: commands of agents may see what "
            "the server sees, and files are guarded by permission rules alone",
            binary,
        )
        self._run(binary)

    def _run(self, binary: Path) -> None:
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        guard_marker(self.data).unlink(missing_ok=True)
        self._tree = ProcessTree(
            [str(binary), "serve", "--hostname", self.hostname, "--port", str(self.port)],
            directory=self.directory,
            environ=self._environ(),
            log=self.log_path,
        )
        try:
            self._version = await_health(self._tree, self._address(), self._startup_timeout)
            if not is_of_v2(self._version):
                check_guarded(self._address(), self.directory, self.data, self._startup_timeout)
        except ServerStartError as error:
            self.kill()
            tail = self.log_tail(since=log_start)
            raise ServerStartError(
                f"{error}; its log ends with:\n{tail or '(nothing)'}", log_tail=tail
            ) from error
        except BaseException:
            self.kill()
            raise

    def _end(self) -> None:
        if self._tree is not None:
            self._tree.stop(grace=_GRACE)
            self._tree = None

    def _lost_its_port(self) -> bool:
        try:
            free_port(self.hostname, self.port)
        except ServerStartError:
            return True
        return False

    def _environ(self) -> dict[str, str]:
        environ = server_environment(
            self.data,
            self.directory,
            config=self.config,
            models=self.models,
            project_config=self.project_config,
            pass_env=self._pass_env,
            v2=self._v2,
        )
        credentials = {"OPENCODE_SERVER_PASSWORD": self.password, "OPENCODE_SERVER_USERNAME": self.username}
        credentials |= {"OPENCODE_PASSWORD": self.password} if self._v2 else {}
        return environ | credentials | self._env

    def _address(self) -> Address:
        return Address(self.url, self.username, self.password)

    def _not_started(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"a server that is not running has no {what}: use it in a with statement, or start() it"
        )

    def _at_exit(self) -> None:
        if os.getpid() == self._owner:  # a forked child runs this too, but the server is its parent's
            self.stop()


def _is_of_v2(binary: Path) -> bool:
    try:
        return is_of_v2(version_of(binary))
    except (OSError, subprocess.SubprocessError):
        return False
