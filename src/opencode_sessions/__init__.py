"""Give any Django or SQLAlchemy row an OpenCode agent.

These are the names for sync code; `opencode_sessions.aio` has those for asyncio.
"""

from opencode_sessions.errors import (
    AskAnsweredError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    ConnectionLostError,
    CredentialsRefusedError,
    EventTooLargeError,
    InvalidRulesError,
    NotFoundError,
    NotGuardedError,
    NotOpencodeError,
    OpencodeError,
    OpenTransactionError,
    RecordContendedError,
    RecordError,
    RecordGoneError,
    RecordNotSavedError,
    RequestSummary,
    RequestTimedOutError,
    ServerError,
    ServerNotInstalledError,
    ServerStartError,
    ServerUnreachableError,
    SessionMovedError,
    SessionNotFoundError,
    SilenceTimeoutError,
    StaleSessionError,
    StartTimeoutError,
    StatusError,
    StreamSilentError,
    TotalTimeoutError,
    TurnError,
    TurnInProgressError,
    TurnTakenError,
    TurnTimeoutError,
    UnsupportedVersionError,
    WireError,
)
from opencode_sessions.protocol.events import Event, Gap
from opencode_sessions.protocol.ids import new_message_id, new_part_id, new_session_id
from opencode_sessions.protocol.permissions import Rule, allow, ask, deny, digest, evaluate
from opencode_sessions.protocol.reply import Change, Part, Reply
from opencode_sessions.protocol.values import Health, Message, SessionInfo
from opencode_sessions.services.asks import IN_THE_ROW, Answer, Ask
from opencode_sessions.services.deadlines import Deadlines
from opencode_sessions.services.observing import Observer
from opencode_sessions.services.options import File
from opencode_sessions.services.pruning import Leftover, Pruner
from opencode_sessions.services.recovering import recover
from opencode_sessions.services.reporting import ErrorContext
from opencode_sessions.services.results import TurnResult
from opencode_sessions.services.session import Session
from opencode_sessions.services.turn import Turn
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.wire.address import Timeouts
from opencode_sessions.wire.clients import Client
from opencode_sessions.wire.server import OpencodeServer

__version__ = "0.1.0"

__all__ = [
    "IN_THE_ROW",
    "Answer",
    "Ask",
    "AskAnsweredError",
    "BadRequestError",
    "Change",
    "Client",
    "ConfigurationError",
    "ConflictError",
    "ConnectionLostError",
    "CredentialsRefusedError",
    "Deadlines",
    "ErrorContext",
    "Event",
    "EventTooLargeError",
    "File",
    "Gap",
    "Health",
    "InvalidRulesError",
    "Leftover",
    "Message",
    "NotFoundError",
    "NotGuardedError",
    "NotOpencodeError",
    "Observer",
    "OpenTransactionError",
    "OpencodeError",
    "OpencodeServer",
    "Part",
    "Pruner",
    "RecordContendedError",
    "RecordError",
    "RecordGoneError",
    "RecordNotSavedError",
    "Reply",
    "RequestSummary",
    "RequestTimedOutError",
    "Rule",
    "ServerError",
    "ServerNotInstalledError",
    "ServerStartError",
    "ServerUnreachableError",
    "Session",
    "SessionInfo",
    "SessionMovedError",
    "SessionNotFoundError",
    "SilenceTimeoutError",
    "StaleSessionError",
    "StartTimeoutError",
    "StatusError",
    "StreamSilentError",
    "Timeouts",
    "TotalTimeoutError",
    "Turn",
    "TurnError",
    "TurnInProgressError",
    "TurnResult",
    "TurnStatus",
    "TurnTakenError",
    "TurnTimeoutError",
    "UnsupportedVersionError",
    "WireError",
    "__version__",
    "allow",
    "ask",
    "deny",
    "digest",
    "evaluate",
    "new_message_id",
    "new_part_id",
    "new_session_id",
    "recover",
]
