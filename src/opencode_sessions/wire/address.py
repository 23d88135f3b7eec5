"""Where a server is, how to get in, and how long to wait for it."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from opencode_sessions.errors import ConfigurationError

__all__ = ["DEFAULT_BASE_URL", "Address", "Timeouts"]

DEFAULT_BASE_URL = "http://127.0.0.1:4096"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds.

    Attributes:
        connect: To make a connection, and for an event stream to begin.
        first_read: For the answer to a GET, before it is sent once more and has `read`: a server that is still
            starting can leave a request unanswered for good (1.18.33).
        read: For an answer.
        creation: For the answer to a creation, which a person waits for.
        silence: Without a byte on the event stream (the server beats every 10 s) before it is given up.
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
        """Arguments first, then `OPENCODE_BASE_URL`, `OPENCODE_SERVER_PASSWORD`, `OPENCODE_SERVER_USERNAME`.

        Raises:
            ConfigurationError: The URL is not an http(s) URL.
        """
        url = base_url or os.environ.get("OPENCODE_BASE_URL") or DEFAULT_BASE_URL
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{_without_userinfo(url)!r} is not the URL of a server: write one like {DEFAULT_BASE_URL}, "
                "as base_url or in OPENCODE_BASE_URL"
            )
        if parts.username or parts.password:
            raise ConfigurationError(
                f"the URL of {parts.hostname} carries credentials, which would end up in logs: "
                "pass username and password, or set OPENCODE_SERVER_USERNAME and OPENCODE_SERVER_PASSWORD"
            )
        return cls(
            base_url=url.rstrip("/"),
            username=username or os.environ.get("OPENCODE_SERVER_USERNAME") or "opencode",
            password=password or os.environ.get("OPENCODE_SERVER_PASSWORD") or None,
        )

    def headers(self) -> dict[str, str]:
        """The headers of every request. Only HTTP Basic is accepted (1.18.33)."""
        headers = {"accept": "application/json"}
        if self.password is not None:
            token = b64encode(f"{self.username}:{self.password}".encode()).decode()
            headers["authorization"] = f"Basic {token}"
        return headers


def _without_userinfo(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else url
