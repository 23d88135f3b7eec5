"""`display_error`: why a turn failed or was stopped, what can be done, and whether it makes sense to try again."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opencode_sessions import errors
from opencode_sessions.display.coerce import number, one_line, prose
from opencode_sessions.display.tools.naming import words
from opencode_sessions.protocol.plain import said

__all__ = ["ShownError", "display_error"]

_TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownError:
    """Why a turn did not end well.

    Attributes:
        name: As the row has it: see "Ends" in docs/turns.md.
        title: What happened, in a sentence.
        advice: What can be done; may be empty.
        text: What was said of it: by the provider, the server or this library.
        retry: The same prompt may well work if it is sent again.
        stopped: Somebody wanted it so: nothing went wrong.
    """

    name: str
    title: str
    advice: str = ""
    text: str = ""
    retry: bool = False
    stopped: bool = False


def display_error(error: Any) -> ShownError | None:
    """What is to be shown of a row's `error`; None if there is none. Whatever is given, nothing is raised."""
    if not isinstance(error, Mapping) or not error:
        return None
    name, message = said(error.get("name")), prose(said(error.get("message")), 4_000).text
    if name in ("Cancelled", "MessageAbortedError"):
        by = one_line(error.get("by"))
        who = f" by {by}" if by not in ("", "caller", "server") else ""
        return ShownError(name=name, title=f"Stopped{who}", stopped=True)
    title, advice, retry = _known(name) or _provider(error) or (_sentence(name), "", True)
    stopped = name == "Stopped"  # and what was said of it is the title in other words
    text = "" if stopped else message
    return ShownError(
        name=one_line(name), title=title, advice=advice, text=text, retry=retry, stopped=stopped
    )


def _known(name: str) -> tuple[str, str, bool] | None:
    """What is known of an error of this name: of the server's, of this library's, or of the host's own code."""
    if name in _KNOWN:
        return _KNOWN[name]
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception):
        return None
    found = next((_KNOWN[each.__name__] for each in kind.__mro__ if each.__name__ in _KNOWN), None)
    return found or ("Something went wrong", _ADMINISTRATOR, True)


def _provider(error: Mapping[str, Any]) -> tuple[str, str, bool] | None:
    """A provider's error has a status, or says whether it is worth to try again."""
    status, retryable = number(error.get("status")), error.get("retryable")
    if status is None and not isinstance(retryable, bool) and error.get("name") != "APIError":
        return None
    if status == _TOO_MANY:
        return "The model's provider is asked too often", "Try again in a while.", True
    if status in (401, 403):
        return "The model's provider refused the key", _ADMINISTRATOR, False
    if retryable is True:
        return "The model's provider has trouble", "Try again in a while.", True
    return "The model's provider refused the request", "", False


def _sentence(name: str) -> str:
    text = words(name.removesuffix("Error"))
    return text[:1].upper() + text[1:] or "Something went wrong"


_ADMINISTRATOR = "The administrator has to look into it."
_AGAIN = "Try again."
_SHORTER = "Ask for less at once, or begin a new conversation."
_UNREACHABLE = ("The agent's server cannot be reached", "Try again in a while.", True)
_LOST = ("The connection to the agent's server broke", _AGAIN, True)
_DIED = ("The agent's server stopped in the middle of the answer", _AGAIN, True)
_SESSION = ("The agent's session is gone", "Begin a new conversation.", False)
_REFUSES = ("The agent's server refused the request", _ADMINISTRATOR, False)

_KNOWN: dict[str, tuple[str, str, bool]] = {
    "Abandoned": _DIED,
    "BadRequestError": _REFUSES,
    "ConfigurationError": ("It is not set up well", _ADMINISTRATOR, False),
    "ConflictError": ("The session is busy", "Try again in a while.", True),
    "ConnectionLostError": _LOST,
    "ContentFilterError": ("The provider's filter held the answer back", "Ask in other words.", False),
    "ContextOverflowError": ("The conversation got too long for the model", _SHORTER, False),
    "CredentialsRefusedError": ("The agent's server refused the password", _ADMINISTRATOR, False),
    "EmptyAnswer": ("The model answered nothing", _AGAIN, True),
    "EndlessAnswerError": ("The model's provider does not say when an answer ends", _ADMINISTRATOR, False),
    "EventTooLargeError": ("The answer was too large to be followed", "Ask for less at once.", False),
    "MessageOutputLengthError": (
        "The answer got too long for the model",
        "Ask it to go on, or for less.",
        False,
    ),
    "NoAnswer": ("The prompt was not answered", _AGAIN, True),
    "NotGuardedError": ("The permissions could not be set", _ADMINISTRATOR, False),
    "NotOpencodeError": ("There is no agent's server where it should be", _ADMINISTRATOR, False),
    "Overtaken": ("Another message came first", "Send it again, if it still matters.", True),
    "ProviderAuthError": ("The model's provider refused the key", _ADMINISTRATOR, False),
    "ProviderModelNotFoundError": ("There is no such model", _ADMINISTRATOR, False),
    "RequestTimedOutError": _UNREACHABLE,
    "ResponseTooLargeError": ("The answer was too large to be read", "Ask for less at once.", False),
    "ServerError": ("The agent's server has trouble", "Try again in a while.", True),
    "ServerUnreachableError": _UNREACHABLE,
    "SessionMovedError": ("The agent's session is elsewhere", _ADMINISTRATOR, False),
    "SessionNotFoundError": _SESSION,
    "SilenceTimeoutError": ("The agent fell silent", _AGAIN, True),
    "StaleSessionError": _SESSION,
    "StartTimeoutError": ("The agent did not begin to answer", _AGAIN, True),
    "Stopped": (
        "It stopped, as what it asked for was refused or dismissed",
        "Say what it should do instead.",
        False,
    ),
    "StreamSilentError": _LOST,
    "StructuredOutputError": ("The model did not answer in the form that was asked for", _AGAIN, True),
    "TotalTimeoutError": ("It took too long", "Ask for less at once.", True),
    "UnknownError": ("Something went wrong", _AGAIN, True),
    "UnsupportedVersionError": (
        "The agent's server is of a version that does not fit",
        _ADMINISTRATOR,
        False,
    ),
}
