"""Every error that this library raises.

::

    OpencodeError
    ├── ConfigurationError               what the host wrote cannot work; nothing was sent
    │   ├── InvalidRulesError            the permission rules are not rules
    │   ├── UnknownServerError           a row names a server that the settings do not
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
    │   ├── TurnLimitError               as many turns run as may run at once
    │   ├── BudgetExceededError          the budget that the host gave is spent
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
