"""Every error that this library raises.

::

    OpencodeError
    ├── ConfigurationError               a setting, an argument or a model cannot work; nothing was sent
    │   ├── InvalidRulesError            the permission rules are not rules
    │   ├── UnknownServerError           a row names a server that the settings do not
    │   └── ServerNotInstalledError      there is no `opencode` to run
    ├── RecordError                      the host's row is in a state that cannot be used
    │   ├── RecordNotSavedError          it has no primary key yet
    │   ├── RecordGoneError              it was deleted
    │   ├── WrongRowError                the library's connection finds another row with its key: of another tenant, say
    │   ├── RecordContendedError         other callers changed it again and again while its session was being created
    │   ├── SessionMovedError            its session is in another directory than it says
    │   └── OpenTransactionError         the caller holds a transaction open
    ├── TurnError
    │   ├── TurnInProgressError          this turn, or another one in its session, is running
    │   ├── TurnTakenError               another process ended or took the turn while it ran here
    │   │   └── TurnReleasedError        it was released (`Turn.release`) to the next runner
    │   ├── EndlessAnswerError           the server asks the model again without end
    │   ├── TurnLimitError               a limit on turns at a time is reached
    │   ├── BudgetExceededError          the host's budget is spent
    │   ├── TurnParkedError              it waits for a person, without a runner
    │   ├── AskAnsweredError             the ask no longer waits for an answer
    │   ├── AskChangedError              the ask is not the one that the person saw
    │   └── TurnTimeoutError             a deadline passed
    │       ├── StartTimeoutError        no sign of an answer after the prompt
    │       ├── SilenceTimeoutError      no more events of the turn
    │       └── TotalTimeoutError        the whole turn took too long
    ├── ServerStartError                 a managed server did not start
    └── WireError                        communication with the server failed; has request, status and body
        ├── ServerUnreachableError       no connection: the server received nothing
        ├── RequestTimedOutError         no answer in time: the effect is unknown
        ├── ConnectionLostError          the connection broke before the answer: the effect is unknown
        ├── StreamSilentError            the event stream is open but silent, without a heartbeat
        ├── EventTooLargeError           one event exceeds the limit
        ├── ResponseTooLargeError        an answer exceeds the limit
        ├── NotGuardedError              the server accepted permission rules, but does not show them in force
        ├── NotOpencodeError             an answer that is not from an OpenCode server
        │   └── UnsupportedVersionError  an OpenCode server of a version or line that this library does not support
        └── StatusError                  the server answered with an error
            ├── CredentialsRefusedError  401, 403
            ├── BadRequestError          any other 4xx
            ├── ConflictError            409: busy
            ├── NotFoundError            404
            │   └── SessionNotFoundError there is no such session
            │       └── StaleSessionError  … and a row still names it
            └── ServerError              5xx

Each has its details as attributes; none contains a password.
"""

from __future__ import annotations

from opencode_sessions.errors.base import (
    ConfigurationError,
    InvalidRulesError,
    OpencodeError,
    OpenTransactionError,
    RecordContendedError,
    RecordError,
    RecordGoneError,
    RecordNotSavedError,
    ServerNotInstalledError,
    ServerStartError,
    SessionMovedError,
    UnknownServerError,
    WrongRowError,
)
from opencode_sessions.errors.turns import (
    AskAnsweredError,
    AskChangedError,
    BudgetExceededError,
    EndlessAnswerError,
    SilenceTimeoutError,
    StartTimeoutError,
    TotalTimeoutError,
    TurnError,
    TurnInProgressError,
    TurnLimitError,
    TurnParkedError,
    TurnReleasedError,
    TurnTakenError,
    TurnTimeoutError,
)
from opencode_sessions.errors.wire import (
    BadRequestError,
    ConflictError,
    ConnectionLostError,
    CredentialsRefusedError,
    EventTooLargeError,
    NotFoundError,
    NotGuardedError,
    NotOpencodeError,
    RequestSummary,
    RequestTimedOutError,
    ResponseTooLargeError,
    ServerError,
    ServerUnreachableError,
    SessionNotFoundError,
    StaleSessionError,
    StatusError,
    StreamSilentError,
    UnsupportedVersionError,
    WireError,
)

__all__ = [
    "AskAnsweredError",
    "AskChangedError",
    "BadRequestError",
    "BudgetExceededError",
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
    "TurnLimitError",
    "TurnParkedError",
    "TurnReleasedError",
    "TurnTakenError",
    "TurnTimeoutError",
    "UnknownServerError",
    "UnsupportedVersionError",
    "WireError",
    "WrongRowError",
]
