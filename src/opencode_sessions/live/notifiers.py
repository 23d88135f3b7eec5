"""`notifier_at`: the notifier that a URL names."""

from __future__ import annotations

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.live.notifier import Notifier
from opencode_sessions.live.notify_postgres import PostgresNotifier
from opencode_sessions.live.notify_valkey import ValkeyNotifier

__all__ = ["PostgresNotifier", "ValkeyNotifier", "notifier_at"]

_KINDS: dict[str, type[PostgresNotifier | ValkeyNotifier]] = {
    **dict.fromkeys(("postgres", "postgresql"), PostgresNotifier),
    **dict.fromkeys(("redis", "rediss", "valkey", "valkeys", "unix"), ValkeyNotifier),
}


def notifier_at(url: str) -> Notifier:
    """The notifier for a URL: ``redis://``, ``valkey://`` or ``postgresql://``.

    Raises:
        ConfigurationError: It is another URL, or its package is not installed.
    """
    scheme = url.partition("://")[0].partition("+")[0]
    if scheme not in _KINDS:
        raise ConfigurationError(
            f"a notifier's URL must begin with redis://, valkey:// or postgresql://, not with {scheme}://"
        )
    return _KINDS[scheme](url)
