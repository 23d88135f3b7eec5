"""Which server a command talks to: one that runs already, or one of its own for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from opencode_sessions.cli.naming import command
from opencode_sessions.cli.policy import SERVER_CONFIG
from opencode_sessions.errors import ConfigurationError, RequestTimedOutError, ServerUnreachableError
from opencode_sessions.testing import DEFAULT_RULE, Rule, ScriptedModel
from opencode_sessions.wire.clients import Client
from opencode_sessions.wire.server import OpencodeServer

__all__ = ["DATA_FOLDER", "Reached", "data_beside", "furnish", "managed_server", "reach", "reach_offline"]

DATA_FOLDER = Path(".opencode-sessions")

# Else it asks for a list of models, for language servers and for npm packages, in vain where there is no network.
_NO_NETWORK = {
    "OPENCODE_DISABLE_MODELS_FETCH": "true",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "true",
    "npm_config_offline": "true",
}


@dataclass(frozen=True, slots=True)
class Reached:
    """A server that answers.

    Attributes:
        description: For people: version, address, and whose model it has.
        managed: The server, if it is ours and ends with us.
    """

    client: Client
    description: str
    managed: OpencodeServer | None = None


def data_beside(database: URL) -> Path:
    """The folder for a managed server's data: beside a database that is a file, else here."""
    if database.get_backend_name() == "sqlite" and database.database:
        return Path(database.database).parent / DATA_FOLDER
    return DATA_FOLDER


@contextmanager
def reach(url: str | None) -> Iterator[Reached]:
    """A server that runs already: at `url`, else at `OPENCODE_BASE_URL`, else at the default address.

    Raises:
        ServerUnreachableError: Nothing answers there; the message says what to do.
        WireError: What answers cannot be worked with: version, credentials, not an OpenCode server.
    """
    with Client(url) as client:
        address = client.address.base_url
        try:
            health = client.health()
        except (ServerUnreachableError, RequestTimedOutError) as error:
            raise ServerUnreachableError(
                f"no OpenCode server answers at {address}. Start one with `{command()} serve --offline` in "
                "another terminal and do what it prints, or add --offline for a server of this chat's own",
                request=error.request,
            ) from error
        yield Reached(client, f"OpenCode {health.version} at {address}")


@contextmanager
def managed_server(
    data: Path,
    *,
    offline: bool,
    port: int = 0,
    password: str | None = None,
    rules: Sequence[Rule] = (DEFAULT_RULE,),
) -> Iterator[OpencodeServer]:
    """A server of our own on a data folder that stays; its agent works in the folder `work` in it.

    Args:
        data: The folder; made if it is not there.
        offline: Give it the scripted model, which needs no keys and no network.
        port: Where to listen; 0 for any free port.
        password: For the server; a random one if None.
        rules: What the scripted model answers.

    Raises:
        ServerNotInstalledError, ServerStartError, ConfigurationError: See `OpencodeServer`.
    """
    furnish(data)
    with ExitStack() as stack:
        config, environ = SERVER_CONFIG, {}
        if offline:
            model = stack.enter_context(ScriptedModel(rules))
            config, environ = {**model.config(), **SERVER_CONFIG}, _NO_NETWORK
        server = OpencodeServer(data=data, port=port, password=password, config=config, env=environ)
        stack.enter_context(server)
        try:
            yield server
        except KeyboardInterrupt:
            server.kill()  # whoever insists does not wait for a graceful end
            raise


def furnish(data: Path) -> None:
    """Make the data folder, and in it the agent's, which is no part of a repository that they may lie in.

    Raises:
        ConfigurationError: It cannot be made.
    """
    work = data / "work"
    if work.exists():
        return
    try:
        work.mkdir(parents=True)
        (data / ".gitignore").write_text("*\n", encoding="utf-8")
        # OpenCode lets an agent work in all of the repository around its directory. This ends the search for it.
        (work / ".git").write_text("not a repository: the agent works here alone\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the data folder {data} cannot be made ({error}): name another") from error


@contextmanager
def reach_offline(data: Path, *, rules: Sequence[Rule] = (DEFAULT_RULE,)) -> Iterator[Reached]:
    """A server of our own with the scripted model, and a client of it.

    Raises:
        OpencodeError: See `managed_server`.
    """
    with (
        managed_server(data, offline=True, rules=rules) as server,
        Client(server.url, password=server.password, username=server.username) as client,
    ):
        description = f"OpenCode {server.version} at {server.url}, this command's own"
        yield Reached(client, description, server)
