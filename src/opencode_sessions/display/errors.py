"""`display_error`: the reason why a turn failed or was stopped, with advice, and whether a retry makes sense."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opencode_sessions import errors
from opencode_sessions.display.coerce import number, one_line, prose
from opencode_sessions.display.tools.naming import words
from opencode_sessions.protocol.plain import said
from opencode_sessions.texts import later, text

__all__ = ["ShownError", "display_error"]

_TOO_MANY = 429
_WHO = {"visitor": later("visitor"), "you": later("you")}  # of someone without a name


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownError:
    """The reason why a turn failed or was stopped.

    Attributes:
        name: The error's name in the row: see "Ends" in docs/turns.md.
        title: What happened, in a sentence.
        advice: What the person can do; it may be empty.
        text: The message of the provider, the server or this library.
        retry: Whether the same prompt may succeed if it is sent again.
        stopped: Whether a person or program stopped the turn, so that nothing failed.
    """

    name: str
    title: str
    advice: str = ""
    text: str = ""
    retry: bool = False
    stopped: bool = False


def display_error(error: Any) -> ShownError | None:
    """The view model of a row's `error`; None without one. It never raises."""
    if not isinstance(error, Mapping) or not error:
        return None
    name, message = said(error.get("name")), prose(said(error.get("message")), 4_000).text
    if name in ("Cancelled", "MessageAbortedError"):
        by = one_line(error.get("by"))
        who = "" if by in ("", "caller", "server") else text(_WHO[by]) if by in _WHO else by
        title = text("Stopped by {who}", who=who) if who else text("Stopped")
        return ShownError(name=name, title=title, stopped=True)
    title, advice, retry = _known(name) or _provider(error) or (_sentence(name), "", True)
    stopped = name == "Stopped"  # its message only repeats the title
    return ShownError(
        name=one_line(name),
        title=text(title),
        advice=text(advice) if advice else "",
        text="" if stopped else message,
        retry=retry,
        stopped=stopped,
    )


def _known(name: str) -> tuple[str, str, bool] | None:
    """The texts for an error with this name: of the server, of this library, or of the host's own code."""
    if name in _KNOWN:
        return _KNOWN[name]
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception):
        return None
    found = next((_KNOWN[each.__name__] for each in kind.__mro__ if each.__name__ in _KNOWN), None)
    return found or (later("Something went wrong"), _ADMINISTRATOR, True)


def _provider(error: Mapping[str, Any]) -> tuple[str, str, bool] | None:
    """Is it a provider's error? Such an error has a status, or tells whether a retry makes sense."""
    status, retryable = number(error.get("status")), error.get("retryable")
    if status is None and not isinstance(retryable, bool) and error.get("name") != "APIError":
        return None
    if status == _TOO_MANY:
        return later("The model's provider is asked too often"), _IN_A_WHILE, True
    if status in (401, 403):
        return later("The model's provider refused the key"), _ADMINISTRATOR, False
    if retryable is True:
        return later("The model's provider has trouble"), _IN_A_WHILE, True
    return later("The model's provider refused the request"), "", False


def _sentence(name: str) -> str:
    said_so = words(name.removesuffix("Error"))
    return said_so[:1].upper() + said_so[1:] or later("Something went wrong")


_ADMINISTRATOR = later("The administrator has to look into it.")
_AGAIN = later("Try again.")
_IN_A_WHILE = later("Try again in a while.")
_SHORTER = later("Ask for less at once, or begin a new conversation.")
_UNREACHABLE = (later("The agent's server cannot be reached"), _IN_A_WHILE, True)
_LOST = (later("The connection to the agent's server broke"), _AGAIN, True)
_DIED = (later("The agent's server stopped in the middle of the answer"), _AGAIN, True)
_SESSION = (later("The agent's session is gone"), later("Begin a new conversation."), False)
_REFUSES = (later("The agent's server refused the request"), _ADMINISTRATOR, False)

_KNOWN: dict[str, tuple[str, str, bool]] = {
    "Abandoned": _DIED,
    "BadRequestError": _REFUSES,
    "ConfigurationError": (later("It is not set up well"), _ADMINISTRATOR, False),
    "ConflictError": (later("The session is busy"), _IN_A_WHILE, True),
    "ConnectionLostError": _LOST,
    "ContentFilterError": (
        later("The provider's filter held the answer back"),
        later("Ask in other words."),
        False,
    ),
    "ContextOverflowError": (later("The conversation got too long for the model"), _SHORTER, False),
    "CredentialsRefusedError": (later("The agent's server refused the password"), _ADMINISTRATOR, False),
    "EmptyAnswer": (later("The model answered nothing"), _AGAIN, True),
    "EndlessAnswerError": (
        later("The model's provider does not say when an answer ends"),
        _ADMINISTRATOR,
        False,
    ),
    "EventTooLargeError": (
        later("The answer was too large to be followed"),
        later("Ask for less at once."),
        False,
    ),
    "MessageOutputLengthError": (
        later("The answer got too long for the model"),
        later("Ask it to go on, or for less."),
        False,
    ),
    "NoAnswer": (later("The prompt was not answered"), _AGAIN, True),
    "NotGuardedError": (later("The permissions could not be set"), _ADMINISTRATOR, False),
    "NotOpencodeError": (later("There is no agent's server where it should be"), _ADMINISTRATOR, False),
    "Overtaken": (later("Another message came first"), later("Send it again, if it still matters."), True),
    "ProviderAuthError": (later("The model's provider refused the key"), _ADMINISTRATOR, False),
    "ProviderModelNotFoundError": (later("There is no such model"), _ADMINISTRATOR, False),
    "RequestTimedOutError": _UNREACHABLE,
    "ResponseTooLargeError": (
        later("The answer was too large to be read"),
        later("Ask for less at once."),
        False,
    ),
    "ServerError": (later("The agent's server has trouble"), _IN_A_WHILE, True),
    "ServerUnreachableError": _UNREACHABLE,
    "SessionMovedError": (later("The agent's session is elsewhere"), _ADMINISTRATOR, False),
    "SessionNotFoundError": _SESSION,
    "SilenceTimeoutError": (later("The agent fell silent"), _AGAIN, True),
    "StaleSessionError": _SESSION,
    "StartTimeoutError": (later("The agent did not begin to answer"), _AGAIN, True),
    "Stopped": (
        later("It stopped, as what it asked for was refused or dismissed"),
        later("Say what it should do instead."),
        False,
    ),
    "StreamSilentError": _LOST,
    "StructuredOutputError": (later("The model did not answer in the form that was asked for"), _AGAIN, True),
    "TotalTimeoutError": (later("It took too long"), later("Ask for less at once."), True),
    "UnknownError": (later("Something went wrong"), _AGAIN, True),
    "UnsupportedVersionError": (
        later("The agent's server is of a version that does not fit"),
        _ADMINISTRATOR,
        False,
    ),
}
