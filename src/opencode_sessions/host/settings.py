"""The settings of a host, for all of its turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.uploads import Uploads
from opencode_sessions.host.limits import Gates, Limit, LimitFor, MessageLimit, UsageOf
from opencode_sessions.host.servers import LeastLoaded, Running, Server, ServerFor, ServerLimits
from opencode_sessions.protocol.ids import DEFAULT_NAMESPACE
from opencode_sessions.reporting import OnError
from opencode_sessions.sessions.servers import DEFAULT_SERVER
from opencode_sessions.sessions.spec import PermissionsFor, check_permissions_for
from opencode_sessions.turns.asks import IN_THE_ROW, AskHandler, InTheRow
from opencode_sessions.turns.events import Listener
from opencode_sessions.turns.gate import Gate
from opencode_sessions.validation import check_ordinary, require
from opencode_sessions.wire.address import Timeouts, server_url

__all__ = ["HostSettings", "TurnOptionsFor", "telemetry_of"]

if TYPE_CHECKING:
    from opencode_sessions.telemetry import Telemetry

TurnOptionsFor = Callable[[Any], Mapping[str, Any]]


def telemetry_of(given: Telemetry | bool | None) -> Telemetry | None:  # noqa: FBT001 - the setting as it is written
    """The telemetry of a host; None if it is off.

    Raises:
        ConfigurationError: The value has another type, or OpenTelemetry is not installed.
    """
    if not given:
        return None
    try:
        from opencode_sessions.telemetry import Telemetry  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"telemetry needs {error.name}, which is not installed: pip install 'opencode-sessions[otel]'"
        ) from error
    require(given is True or isinstance(given, Telemetry), "telemetry must be True or a Telemetry", given)
    return Telemetry() if given is True else given


def _nothing(_message: Any) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """The settings of a host, for all of its turns.

    Attributes:
        server: The URL of the OpenCode server; by default `OPENCODE_BASE_URL`, else http://127.0.0.1:4096.
        servers: Several servers by name, instead of `server`: `{"a": Server(url=…), "b": Server(url=…)}`. Each record's
            row stores the name of its server. Records from the time of one server have the server `default`.
        limit_for: A function from a message to the `Limit` that its turn shares with others, such as those of its
            user; or to None.
        server_for: A function from a record to the name of the server for its session; None: the least loaded server.
        username: By default `OPENCODE_SERVER_USERNAME`, else "opencode".
        password: By default `OPENCODE_SERVER_PASSWORD`.
        directory: The folder of new sessions, on the server's machine; None: the server's own.
        namespace: The namespace of sessions. Databases that share a server need different ones. None: the default one.
        timeouts: The timeouts of requests.
        permissions_for: The rules of a session, or a function from a record to its rules: see `Session`.
        on_error: Gets the errors that must not be raised: see `Session`.
        turn_options: A function from a message to keyword arguments for `Turn`.
        on_ask: Answers an agent's asks: see `Turn`. By default an ask waits in the row for `answer`.
        allow_always: Whether a person may answer a permission with `always`. That answer holds for all agents in the
            same directory until the server restarts, and overrides their `deny` rules (1.18.33).
        turns: How many turns this process runs at once. Turns that wait for a person do not count. By default 100 with
            asyncio, and 8 with threads.
        recover: Whether this process recovers abandoned turns: at its start, and then every 15 seconds.
        retry: A function from a message that failed or was cancelled to a new one with its prompt, not yet added to an
            ORM session. By default a copy.
        telemetry: True sends spans and metrics of turns to OpenTelemetry. A `Telemetry` has more options.
        artifacts: The folders of agents, and the store of the files that they make.
        uploads: The storage and the limits of the files that people send with a message.
        language: A function from a request to the code of its user's language, such as `de`; by default the
            `Accept-Language` decides. Without a catalogue for the language, texts are English.

    Raises:
        ConfigurationError: One of them cannot work.
    """

    server: str | None = None
    servers: Mapping[str, Server] | None = None
    server_for: ServerFor | None = None
    limit_for: LimitFor | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    directory: str | None = None
    namespace: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    permissions_for: PermissionsFor | None = None
    on_error: OnError | None = None
    turn_options: TurnOptionsFor = _nothing
    on_ask: AskHandler | InTheRow | None = IN_THE_ROW
    allow_always: bool = False
    turns: int | None = None
    recover: bool = True
    retry: Callable[[Any], Any] | None = None
    telemetry: Telemetry | bool | None = None
    artifacts: Artifacts | None = None
    uploads: Uploads | None = None
    language: Callable[[Any], str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "telemetry", telemetry_of(self.telemetry))
        for name in ("turn_options", "retry", "on_error", "server_for", "limit_for", "language"):
            check_ordinary(name, getattr(self, name))
        object.__setattr__(self, "permissions_for", check_permissions_for(self.permissions_for))
        if self.server is not None:
            server_url(self.server)
        self._check_servers()
        require(
            callable(self.turn_options), "turn_options must be a function of a message", self.turn_options
        )
        require(
            self.retry is None or callable(self.retry), "retry must be a function of a message", self.retry
        )
        require(
            self.artifacts is None or isinstance(self.artifacts, Artifacts),
            "artifacts must be Artifacts",
            self.artifacts,
        )
        require(
            self.uploads is None or isinstance(self.uploads, Uploads), "uploads must be Uploads", self.uploads
        )
        turns = self.turns
        require(
            turns is None or (isinstance(turns, int) and turns > 0),
            "turns must be a whole number above 0",
            turns,
        )

    def _check_servers(self) -> None:
        given = self.servers
        if given is None:
            return
        require(
            isinstance(given, Mapping)
            and len(given) > 0
            and all(isinstance(each, Server) for each in given.values()),
            'servers must name at least one, such as {"a": Server(url="http://…")}',
            given,
        )
        require(self.server is None, "give server or servers, and not both; server is", self.server)

    @property
    def named_servers(self) -> Mapping[str, Server | None]:
        """The settings of each server, by name; None for a server without a name, which is `default`."""
        return {DEFAULT_SERVER: None} if self.servers is None else self.servers

    def session_options(self) -> dict[str, Any]:
        """The keyword arguments for `Session`."""
        return {
            "permissions_for": self.permissions_for,
            "on_error": self.on_error,
            "namespace": self.namespace or DEFAULT_NAMESPACE,
            "observer": next(iter(self.listeners()), None),
        }

    @property
    def active_telemetry(self) -> Telemetry | None:
        """The `telemetry`, if it is on."""
        return None if isinstance(self.telemetry, bool) else self.telemetry

    def listeners(self) -> tuple[Listener, ...]:
        """The listeners of each turn."""
        return () if self.active_telemetry is None else (self.active_telemetry.listener(),)

    def client_options(self) -> dict[str, dict[str, Any]]:
        """The keyword arguments for `Client`, for each server by name."""
        return {
            name: {
                "base_url": self.server if said is None else said.url,
                "password": self.password if said is None else said.password or self.password,
                "username": self.username if said is None else said.username or self.username,
                "directory": self.directory,
                "timeouts": self.timeouts,
            }
            for name, said in self.named_servers.items()
        }

    def chooser(self, running: Running) -> LeastLoaded | None:
        """Chooses the server of new records; None if there is one server."""
        return None if self.servers is None else LeastLoaded(self.servers, self.server_for, running)

    def limits(
        self, message: Any, running: Running, usage: UsageOf
    ) -> tuple[Gate | None, MessageLimit | None]:
        """The gate of a message's turn, and its own limit; None if there is none.

        Raises:
            ConfigurationError: `limit_for` did not return a `Limit`.
        """
        servers = self.servers or {}
        gates: list[Gate] = []
        if any(each.turns is not None for each in servers.values()):
            gates.append(ServerLimits(servers, running))
        limit = None if self.limit_for is None else self.limit_for(message)
        require(limit is None or isinstance(limit, Limit), "limit_for must return a Limit or None", limit)
        own = None if limit is None else MessageLimit(limit, partial(usage, message, limit.of, limit.since))
        if own is not None:
            gates.append(own)
        return (Gates(*gates) if gates else None), own
