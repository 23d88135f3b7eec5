"""The address, credentials and timeouts of a server. No error or log repeats a credential."""

from __future__ import annotations

import html
import json
import os
import re
from base64 import b64encode
from dataclasses import dataclass, field

import httpx2

from opencode_sessions.errors import ConfigurationError

__all__ = ["DEFAULT_BASE_URL", "Address", "Timeouts", "server_url"]

DEFAULT_BASE_URL = "http://127.0.0.1:4096"

_HOST = re.compile(rb"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Za-z:.%_-]*")
_HIGHEST_PORT = 65535
_UNSOUND = "has no host, or a host, a port or a character that no URL has"
_QUOTED = 2000
_LONGEST_SPELLING = 16
"""Characters that one character of a secret takes at most: `\\xf0\\x9f\\x98\\x80`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The timeouts of requests, in seconds.

    `first_read`, `read` and `creation` limit the whole request, from its first byte to the last byte of its answer,
    however slowly the server sends. The wait for a connection does not count.

    Attributes:
        connect: For a connection, and for the start of an event stream.
        first_read: For the start of the answer to a GET. After that the GET is sent once more, with the timeout `read`.
            A server that is still starting may never answer a request (1.18.33).
        read: For a whole answer.
        creation: For the whole answer to a creation, while a person waits.
        silence: Without a byte on the event stream before the stream is reopened. The server sends a heartbeat every
            10 s.
    """

    connect: float = 5.0
    first_read: float = 5.0
    read: float = 30.0
    creation: float = 10.0
    silence: float = 30.0


@dataclass(frozen=True, slots=True)
class Address:
    """A server's URL and credentials. Neither its repr nor any error shows the password."""

    base_url: str
    username: str
    password: str | None = field(repr=False)

    @classmethod
    def resolve(
        cls, base_url: str | None = None, *, password: str | None = None, username: str | None = None
    ) -> Address:
        """The address from the arguments, else from the environment.

        The variables are `OPENCODE_BASE_URL`, `OPENCODE_SERVER_PASSWORD` and `OPENCODE_SERVER_USERNAME`.

        Raises:
            ConfigurationError: The URL cannot be a server's, or the credentials are not Unicode.
        """
        address = cls(
            base_url=server_url(base_url or os.environ.get("OPENCODE_BASE_URL") or DEFAULT_BASE_URL),
            username=username or os.environ.get("OPENCODE_SERVER_USERNAME") or "opencode",
            password=password or os.environ.get("OPENCODE_SERVER_PASSWORD") or None,
        )
        if not _is_unicode(f"{address.username}{address.password}"):
            raise ConfigurationError(
                "the user name or the password of the server is not valid UTF-8: set OPENCODE_SERVER_USERNAME and "
                "OPENCODE_SERVER_PASSWORD again"
            )
        return address

    def headers(self) -> dict[str, str]:
        """The headers of every request. Only HTTP Basic is accepted (1.18.33)."""
        headers = {"accept": "application/json"}
        if self.password is not None:
            headers["authorization"] = f"Basic {self._token(self.password)}"
        return headers

    def quote(self, said: str | bytes) -> str:
        """Text from the server for an error message: at most 2,000 characters, without the credentials.

        The password and the `Authorization` header are replaced, also if the server has escaped them.
        """
        if self.password is None:
            return _text(said[: 4 * _QUOTED])[:_QUOTED]
        token = self._token(self.password)
        reach = _LONGEST_SPELLING * len(token)
        text = _text(said[: 4 * (_QUOTED + reach)])
        window = text[: _QUOTED + reach]
        shown = re.sub(f"{_spelled(token)}|{_spelled(self.password)}", "***", window, flags=re.IGNORECASE)
        if len(window) < len(text):
            shown = shown[:-reach]  # a secret at the end may have been cut in two
        return shown[:_QUOTED]

    def _token(self, password: str) -> str:
        return b64encode(f"{self.username}:{password}".encode()).decode()


def server_url(url: str) -> str:
    """Check the URL of a server, and remove a slash at its end.

    Raises:
        ConfigurationError: It cannot be a server's URL. The error repeats no part of it, as it may contain a password.
    """
    url = url.strip()
    if trouble := _trouble_with(url):
        raise ConfigurationError(
            f"the URL of the server {trouble}: write one like {DEFAULT_BASE_URL}, as base_url or in OPENCODE_BASE_URL"
        )
    return url.rstrip("/")


def _trouble_with(url: str) -> str:
    if "@" in url:
        return (
            "has an @, as if it held credentials, which logs would show (pass username and password, or set "
            "OPENCODE_SERVER_USERNAME and OPENCODE_SERVER_PASSWORD)"
        )
    if "?" in url or "#" in url:
        return "has a query or a fragment, which no request would carry"
    try:
        parts = httpx2.URL(url)
        port = 1 if parts.port is None else parts.port
        sound = url.isprintable() and _HOST.fullmatch(parts.raw_host) and 0 < port <= _HIGHEST_PORT
    except (httpx2.InvalidURL, ValueError):
        return _UNSOUND
    if parts.scheme not in ("http", "https"):
        return "does not begin with http:// or https://"
    return "" if sound else _UNSOUND


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(said: str | bytes) -> str:
    return said if isinstance(said, str) else said.decode("utf-8", "replace")


def _spelled(secret: str) -> str:
    """A pattern for a secret, whose characters may be escaped as in URLs, JSON, HTML and Python.

    Atomic groups (`(?>`) prevent backtracking, which would take exponential time for a text that almost matches.
    """
    escaped = "".join(f"(?>{'|'.join(_spellings(character))})" for character in secret)
    return f"{re.escape(secret)}|{escaped}"


def _spellings(character: str) -> list[str]:
    octets = character.encode()
    written = {
        "".join(f"%{octet:02x}" for octet in octets),
        json.dumps(character)[1:-1],
        f"\\u{ord(character):04x}",
        html.escape(character),
        repr(character)[1:-1],
        repr(octets)[2:-1],
        octets.decode("latin-1"),  # a header's bytes
        "+" if character == " " else character,
    }
    longest_first = map(re.escape, sorted(written, key=len, reverse=True))
    return [
        f"&#0*{ord(character)};",
        f"&#x0*{ord(character):x};",
        *longest_first,
        rf"\\?{re.escape(character)}",
    ]
