"""The root of all errors, and what is wrong with what a host has written, or with its rows."""

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
    """The root of the tree: catch this to catch all that this library raises by itself."""


class ConfigurationError(OpencodeError):
    """A setting, an argument or a model of the host's cannot work; nothing was sent."""


class InvalidRulesError(ConfigurationError):
    """`permissions_for` returned something that is not a list of permission rules."""


class ServerNotInstalledError(ConfigurationError):
    """There is no `opencode` binary to run; the message names the command that installs it."""


class RecordError(OpencodeError):
    """The host's row is not in a state to work with.

    Attributes:
        record: What names the row, such as ``"conversations:42"``.
    """

    def __init__(self, message: str, *, record: str) -> None:
        super().__init__(message)
        self.record = record


class RecordNotSavedError(RecordError):
    """The record has no primary key yet: save and commit it first."""


class RecordGoneError(RecordError):
    """The record's row no longer exists."""


class WrongRowError(RecordError):
    """Another row has this key where the library's own connection looks: in another tenant's schema, say."""


class RecordContendedError(RecordError):
    """Others changed the row again and again while its session was being made or told: call again, a little later."""


class SessionMovedError(RecordError):
    """The record's session lives in another directory than the record says: the server moved it, or the record changed.

    Attributes:
        session_id: The session.
        expected: The directory that the record says.
        found: The one that the server says.
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

    It would hold the row's lock and a connection while the network is awaited, and a rollback
    would undo the reservation of a session that then exists upstream: an orphan.
    """


class UnknownServerError(ConfigurationError):
    """A record's row names an OpenCode server that the host's settings do not.

    Attributes:
        server: The name in the row.
    """

    def __init__(self, message: str, *, server: str) -> None:
        super().__init__(message)
        self.server = server


class ServerStartError(OpencodeError):
    """A managed server did not come up.

    Attributes:
        log_tail: The last lines of its log.
    """

    def __init__(self, message: str, *, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail
