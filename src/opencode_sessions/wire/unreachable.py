"""The reason why no connection to a server was made, and advice: one sentence for each cause.

| cause | advice |
|---|---|
| the connection is refused | start a server, or correct the URL |
| the name does not resolve | correct the name, or repair the DNS |
| the certificate is not trusted | `SSL_CERT_FILE`, the system's certificates, or another name |
| no TLS, although the URL says https | `http://` |
| no connection in time | check the host and firewalls |
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

import httpx2

from opencode_sessions.errors import ConfigurationError, RequestSummary, ServerUnreachableError
from opencode_sessions.protocol.plain import clean

__all__ = ["reason_of", "trusted", "unreachable"]

_ELSEWHERE = "set OPENCODE_BASE_URL to where it is"


def unreachable(
    error: httpx2.TransportError, base_url: str, *, request: RequestSummary, seconds: float
) -> ServerUnreachableError:
    """The error for a connection that was not made.

    Args:
        error: The error of httpx2.
        base_url: The server's URL.
        request: The request.
        seconds: The timeout for a connection.
    """
    causes = list(_causes(error))
    refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
    said = _refused(base_url) if refused else _said(error, causes, base_url, seconds)
    return ServerUnreachableError(said, request=request, refused=refused)


def reason_of(error: BaseException) -> str:
    """The operating system's text for an error; empty without one."""
    said = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError))
    return next(filter(None, said), "") or str(error)


def trusted(base_url: str) -> ssl.SSLContext:
    """The trusted certificates: those in `SSL_CERT_FILE` or `SSL_CERT_DIR`, else the system's; none without TLS.

    Raises:
        ConfigurationError: The file or folder in one of these variables cannot be read.
    """
    if httpx2.URL(base_url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to read certificates takes 15 to 30 ms
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        given = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)}
        said = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ConfigurationError(
            f"no certificates can be read from {said} ({reason_of(error)}): correct that, or unset it"
        ) from error


def _refused(base_url: str) -> str:
    return (
        f"no OpenCode server answers at {base_url} (connection refused): start one with `opencode-sessions serve`, "
        f"or {_ELSEWHERE}"
    )


def _said(error: httpx2.TransportError, causes: list[BaseException], base_url: str, seconds: float) -> str:
    host = httpx2.URL(base_url).host
    encrypted = base_url.startswith("https:")
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return (
                f"the name {host} does not resolve ({cause.strerror}): correct it in {base_url}, look at the DNS of "
                f"this machine, or {_ELSEWHERE}"
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            named = "mismatch" in cause.verify_message
            return f"the certificate of {base_url} is not accepted ({cause.verify_message}): " + (
                "use the name that it is for"
                if named
                else "set SSL_CERT_FILE to a file with the certificate of the authority that signed it"
            )
    if isinstance(error, httpx2.ConnectTimeout):
        if any(isinstance(cause, ssl.SSLError) or "handshake" in str(cause) for cause in causes):
            return (
                f"the server at {base_url} accepts connections, and did not begin TLS within {seconds:g} s. It hangs, "
                "or speaks plain http: look at its log, or write http:// instead of https://"
            )
        return (
            f"no connection to {base_url} within {seconds:g} s: the host may be down, or a firewall may drop what is "
            f"sent to it. Check both, or {_ELSEWHERE}"
        )
    reason = clean(reason_of(error)) or type(error).__name__
    if encrypted and not _is_about_the_network(causes):
        return (
            f"the server at {base_url} does not take TLS ({reason}): if it speaks plain http, write http:// instead "
            "of https://"
        )
    return f"no connection to {base_url} ({reason}): check the URL and the network, or {_ELSEWHERE}"


def _is_about_the_network(causes: list[BaseException]) -> bool:
    return any(
        isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError | ConnectionError)
        for cause in causes
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes."""
    left = [error]
    while left:
        each = left.pop()
        yield each
        if isinstance(each, BaseExceptionGroup):
            left.extend(each.exceptions)
        if cause := each.__cause__ or each.__context__:
            left.append(cause)
