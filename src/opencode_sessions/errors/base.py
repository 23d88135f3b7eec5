"""The root of all errors, and the errors of a host's settings and rows."""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "InvalidRulesError",
    "OpenTransactionError",
    "OpencodeError",
    "RecordContendedError",
    "RecordError",
    "RecordGoneError",
    "RecordNotSavedError",
    "ServerNotInstalledError",
    "ServerStartError",
    "SessionMovedError",
    "UnknownServerError",
    "WrongRowError",
]


class OpencodeError(Exception):
    """The root of the tree: catch it to catch all errors of this library."""


class ConfigurationError(OpencodeError):
    """A setting, an argument or a model of the host's cannot work; nothing was sent."""


class InvalidRulesError(ConfigurationError):
    """`permissions_for` returned something that is not a list of permission rules."""


class ServerNotInstalledError(ConfigurationError):
    """There is no `opencode` binary to run; the message names the command that installs it."""


class RecordError(OpencodeError):
    """The host's row is in a state that cannot be used.

    Attributes:
        record: The row's key, such as ``"conversations:42"``.
    """

    def __init__(self, message: str, *, record: str) -> None:
        super().__init__(message)
        self.record = record


class RecordNotSavedError(RecordError):
    """The record has no primary key yet: save and commit it first."""


class RecordGoneError(RecordError):
    """The record's row no longer exists."""


class WrongRowError(RecordError):
    """The library's own connection finds another row with this key: in another tenant's schema, say."""


class RecordContendedError(RecordError):
    """Other callers changed the row again and again during the call. Call again later."""


class SessionMovedError(RecordError):
    """The record's session is in another directory than the record names: the server moved it, or the record changed.

    Attributes:
        session_id: The session.
        expected: The record's directory.
        found: The directory that the server reports.
    """

    def __init__(
        self, message: str, *, record: str, session_id: str, expected: str, found: str | None
    ) -> None:
        super().__init__(message, record=record)
        self.session_id = session_id
        self.expected = expected
        self.found = found


class OpenTransactionError(RecordError):
    """The caller holds a transaction open around the call.

    It would hold the row's lock and a connection during network calls. A rollback would undo the reservation of a
    session that then exists on the server without a row.
    """


class UnknownServerError(ConfigurationError):
    """A record's row names an OpenCode server that is missing in the host's settings.

    Attributes:
        server: The name in the row.
    """

    def __init__(self, message: str, *, server: str) -> None:
        super().__init__(message)
        self.server = server


class ServerStartError(OpencodeError):
    """A managed server did not start.

    Attributes:
        log_tail: The last lines of its log.
    """

    def __init__(self, message: str, *, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail
