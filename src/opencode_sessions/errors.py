"""Every error that this library raises.

::

    OpencodeError
    ├── ConfigurationError               what the host wrote cannot work; nothing was sent
    │   ├── InvalidRulesError            the permission rules are not rules
    │   └── ServerNotInstalledError      there is no `opencode` to run
    ├── RecordError                      the host's row is not in a state to work with
    │   ├── RecordNotSavedError          it has no primary key yet
    │   ├── RecordGoneError              it was deleted meanwhile
    │   ├── WrongRowError                another row has its key where the library looks: of another tenant, say
    │   ├── RecordContendedError         others changed it again and again while its session was being made
    │   ├── SessionMovedError            its session lives in another directory than it says
    │   └── OpenTransactionError         the caller holds a transaction open
    ├── TurnError
    │   ├── TurnInProgressError          this turn, or another in its session, is running
    │   ├── TurnTakenError               it was ended or taken elsewhere while it ran here
    │   │   └── TurnReleasedError        it was released here (`Turn.release`) to the next runner
    │   ├── EndlessAnswerError           the server asks the model again and again
    │   ├── TurnParkedError              it waits for a person, and nothing runs until the answer
    │   ├── AskAnsweredError             what it asked waits for an answer no more
    │   ├── AskChangedError              what it asks is not what the person was shown
    │   └── TurnTimeoutError             a deadline passed
    │       ├── StartTimeoutError        no sign of life after the prompt
    │       ├── SilenceTimeoutError      the stream fell silent
    │       └── TotalTimeoutError        the whole turn took too long
    ├── ServerStartError                 a managed server did not come up
    └── WireError                        between us and the server; carries request, status and body
        ├── ServerUnreachableError       no connection: nothing was received by the server
        ├── RequestTimedOutError         no answer in time: what happened is unknown
        ├── ConnectionLostError          the connection broke before the answer: likewise
        ├── StreamSilentError            the event stream is open and says nothing, not even a heartbeat
        ├── EventTooLargeError           one event exceeds the cap
        ├── ResponseTooLargeError        an answer exceeds the cap
        ├── NotGuardedError              the server took permission rules, and does not show them in force
        ├── NotOpencodeError             it answers, but not as an OpenCode server
        │   └── UnsupportedVersionError  it is one, of a version or line that this library does not speak
        └── StatusError                  the server answered with an error
            ├── CredentialsRefusedError  401, 403
            ├── BadRequestError          any other 4xx
            ├── ConflictError            409: busy
            ├── NotFoundError            404
            │   └── SessionNotFoundError there is no such session
            │       └── StaleSessionError  … and a row still names it
            └── ServerError              5xx

Each carries its facts as attributes; none carries a password.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AskAnsweredError",
    "AskChangedError",
    "BadRequestError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionLostError",
    "CredentialsRefusedError",
    "EndlessAnswerError",
    "EventTooLargeError",
    "InvalidRulesError",
    "NotFoundError",
    "NotGuardedError",
    "NotOpencodeError",
    "OpenTransactionError",
    "OpencodeError",
    "RecordContendedError",
    "RecordError",
    "RecordGoneError",
    "RecordNotSavedError",
    "RequestSummary",
    "RequestTimedOutError",
    "ResponseTooLargeError",
    "ServerError",
    "ServerNotInstalledError",
    "ServerStartError",
    "ServerUnreachableError",
    "SessionMovedError",
    "SessionNotFoundError",
    "SilenceTimeoutError",
    "StaleSessionError",
    "StartTimeoutError",
    "StatusError",
    "StreamSilentError",
    "TotalTimeoutError",
    "TurnError",
    "TurnInProgressError",
    "TurnParkedError",
    "TurnReleasedError",
    "TurnTakenError",
    "TurnTimeoutError",
    "UnsupportedVersionError",
    "WireError",
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


class TurnError(OpencodeError):
    """A turn could not be run.

    Attributes:
        message_key: What names the message's row, such as ``"messages:7"``.
    """

    def __init__(self, message: str, *, message_key: str) -> None:
        super().__init__(message)
        self.message_key = message_key


class TurnInProgressError(TurnError):
    """The message's turn is running, or its runner died in it; or its session still answers another prompt."""


class TurnTakenError(TurnError):
    """The message's row no longer names this runner: its turn was ended or taken elsewhere."""


class TurnReleasedError(TurnTakenError):
    """`Turn.release` was called: the turn goes on in the next process that recovers it."""


class TurnParkedError(TurnError):
    """The turn waits for a person: `run(park=True)` has left it, and it goes on when it is run after the answer."""


class TurnTimeoutError(TurnError):
    """The turn did not end within its deadline.

    Attributes:
        seconds: The deadline that passed.
    """

    def __init__(self, message: str, *, message_key: str, seconds: float) -> None:
        super().__init__(message, message_key=message_key)
        self.seconds = seconds


class StartTimeoutError(TurnTimeoutError):
    """There was no sign of life after the prompt."""


class SilenceTimeoutError(TurnTimeoutError):
    """Nothing was heard of the turn's session any more; heartbeats do not count."""


class TotalTimeoutError(TurnTimeoutError):
    """The whole turn took too long."""


class EndlessAnswerError(TurnError):
    """The model answered several times in a row, and the provider never said why an answer ended.

    The server asks the model again after such an answer (1.18.33).
    """


class _AskError(TurnError):
    """An answer cannot be taken.

    Attributes:
        ask_id: The ask.
    """

    def __init__(self, message: str, *, ask_id: str, message_key: str = "") -> None:
        super().__init__(message, message_key=message_key)
        self.ask_id = ask_id


class AskAnsweredError(_AskError):
    """The ask waits for an answer no more: it was answered, or its session was stopped. `ask_id` names it."""


class AskChangedError(_AskError):
    """The ask is not the one that the person was shown. It still waits: show it again. `ask_id` names it."""


class ServerStartError(OpencodeError):
    """A managed server did not come up.

    Attributes:
        log_tail: The last lines of its log.
    """

    def __init__(self, message: str, *, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


@dataclass(frozen=True)
class RequestSummary:
    """A request, without credentials and without bodies."""

    method: str
    url: str

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


class WireError(OpencodeError):
    """Something went wrong between us and the server.

    Attributes:
        request: What was asked, if one request is to blame.
        status: The HTTP status of the answer, if there was one.
        body: The answer's body, at most its first 2,000 characters, without our credentials.
    """

    def __init__(
        self,
        message: str,
        *,
        request: RequestSummary | None = None,
        status: int | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(message)
        self.request = request
        self.status = status
        self.body = body


class ServerUnreachableError(WireError):
    """No connection could be made: the server received nothing. The message says why, and what to do.

    Attributes:
        refused: Nothing listens at the address. Otherwise its name does not resolve, its certificate is not accepted,
            it does not speak TLS, or it did not answer in time.
    """

    def __init__(self, message: str, *, request: RequestSummary | None = None, refused: bool = False) -> None:
        super().__init__(message, request=request)
        self.refused = refused


class RequestTimedOutError(WireError):
    """No answer came in time: whether the server did it is unknown."""


class ConnectionLostError(WireError):
    """The connection broke before the answer: whether the server did it is unknown."""


class StreamSilentError(WireError):
    """The event stream is open and says nothing, not even the heartbeat that is due every 10 s."""


class EventTooLargeError(WireError):
    """One event of the stream exceeds the cap."""


class ResponseTooLargeError(WireError):
    """The answer to one request exceeds the cap, after decompression: the rest of it was not read."""


class NotGuardedError(WireError):
    """The server took a session's permission rules, and does not show them in force.

    Attributes:
        session_id: The session, which nobody may prompt.
    """

    def __init__(self, message: str, *, session_id: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class NotOpencodeError(WireError):
    """The answer is not that of an OpenCode server, or this is not a route of it."""


class UnsupportedVersionError(NotOpencodeError):
    """It is an OpenCode server of a version or line that this library does not speak.

    Attributes:
        found: The version that the server reports.
    """

    def __init__(self, message: str, *, found: str, request: RequestSummary | None = None) -> None:
        super().__init__(message, request=request)
        self.found = found


class StatusError(WireError):
    """The server answered with an error status."""


class CredentialsRefusedError(StatusError):
    """401 or 403: the password or user name is wrong or missing."""


class BadRequestError(StatusError):
    """The server refused the request as malformed (4xx)."""


class ConflictError(StatusError):
    """409: the session is busy."""


class NotFoundError(StatusError):
    """404: no such message, permission request or question."""


class SessionNotFoundError(NotFoundError):
    """The server has no such session.

    Attributes:
        session_id: The id that was asked for.
    """

    session_id: str | None = None


class StaleSessionError(SessionNotFoundError):
    """A row names a session that the server does not have, and a fresh one went the same way.

    Attributes:
        record: What names the row.
    """

    record: str | None = None


class ServerError(StatusError):
    """5xx: the server failed at it; its log says why."""
