"""The one setting of the app: `OPENCODE = {…}`, read when it is needed, and again when a test overrides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, cast

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from opencode_sessions.errors import ConfigurationError, InvalidRulesError
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.uploads import Uploads
from opencode_sessions.host.chats import CHAT_SECONDS, Chats
from opencode_sessions.host.servers import Server
from opencode_sessions.host.settings import HostSettings, telemetry_of
from opencode_sessions.host.steering import nobody
from opencode_sessions.jobs.ports import QueueDispatcher
from opencode_sessions.live.notifier import Notifier
from opencode_sessions.live.notifiers import notifier_at
from opencode_sessions.live.relay import Relay
from opencode_sessions.protocol.permissions import check_rules
from opencode_sessions.protocol.places import directory_of
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.sessions.spec import PermissionsFor
from opencode_sessions.turns.asks import IN_THE_ROW, InTheRow
from opencode_sessions.validation import is_coroutine_function, meant_among
from opencode_sessions.wire.address import Timeouts, server_url

__all__ = ["MaySee", "OpencodeSettings", "settings"]

MaySee = Callable[[Any, Any], bool]

_MINUTE = 60.0
"""The longest stream, in seconds. Rights are checked when a stream begins, so a longer one could show too much."""
_MAY_HOLD_A_PASSWORD = ("SERVER", "SERVERS", "USERNAME", "PASSWORD", "NOTIFIER")

_ATTRIBUTES = {"THREADS": "turns", "RECOVER_AT_START": "recover"}
_ASKS: dict[str, InTheRow | None] = {"row": IN_THE_ROW, "refuse": None}


_OF_TENANTS = ("CURRENT_TENANT", "TENANT_CONTEXT", "ALL_TENANTS")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencodeSettings(HostSettings):
    """The settings of `OPENCODE`: those of every host, and these. Each attribute is the key in capitals.

    The exceptions: `turns` is `THREADS`, and `recover` is `RECOVER_AT_START`. Functions can be given as dotted paths.
    `timeouts` is a dict with fields of `Timeouts`; `on_ask` is `row` or `refuse`. In the default namespace nothing is
    pruned.

    Attributes:
        may_see: A function of a request and a message: may this user see and control its turn? By default the answer is
            no.
        runner: Runs enqueued turns: `threads`, `tasks`, `inline`, or the dotted path of a dispatcher or of a function
            that makes one.
        notifier: Lets processes notify each other of turns: a `redis://` or `postgresql://` URL, an object such as
            `ValkeyNotifier(url)`, or its dotted path. By default each process polls the rows of its watched turns.
        stream_seconds: How long a stream of events lasts before the browser reconnects, and its rights are checked
            again.
        chats: The chats for front ends with a chat protocol: an instance or a class of `Chats`.
        chat_seconds: How long a stream of such a protocol lasts.
        current_tenant: Returns the present tenant, as text; see `tenants`.
        tenant_context: A function from a tenant to the context manager that selects its rows.
        all_tenants: Returns all tenants.
    """

    turns: int = 8
    may_see: MaySee = nobody
    runner: Any = "threads"
    notifier: Notifier | None = None
    stream_seconds: float = _MINUTE
    chats: Chats | None = None
    chat_seconds: float = CHAT_SECONDS
    current_tenant: Callable[[], str] | None = None
    tenant_context: Callable[[str], AbstractContextManager[Any]] | None = None
    all_tenants: Callable[[], Iterable[str]] | None = None

    @classmethod
    def of(cls, given: Any) -> OpencodeSettings:
        """The host's settings, checked.

        Raises:
            ImproperlyConfigured: A setting cannot work; the message names its key.
        """
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured(
                f'OPENCODE must be a dict such as {{"SERVER": "http://…"}}, not of type {type(given).__name__}'
            )
        read = {_attribute(key): _READERS[key](key, value) for key, value in given.items()}
        missing = [key for key in _OF_TENANTS if read.get(key.lower()) is None]
        if 0 < len(missing) < len(_OF_TENANTS):
            raise ImproperlyConfigured(
                f"OPENCODE needs all of {', '.join(_OF_TENANTS)}, or none of them; missing: {', '.join(missing)}"
            )
        try:
            return cls(**read)
        except ConfigurationError as error:
            raise ImproperlyConfigured(f"OPENCODE cannot work: {error}") from error


def settings() -> OpencodeSettings:
    """The setting `OPENCODE` of the host; the same object until the setting changes.

    Raises:
        ImproperlyConfigured: See `OpencodeSettings.of`.
    """
    return _settings()


@cache
def _settings() -> OpencodeSettings:
    return OpencodeSettings.of(getattr(django_settings, "OPENCODE", {}))


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "OPENCODE":
        _settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="opencode_sessions.conf")


def _attribute(key: Any) -> str:
    if key in _READERS:
        return _ATTRIBUTES.get(key, str(key).lower())
    meant = meant_among(_READERS, str(key).upper())
    raise ImproperlyConfigured(f'OPENCODE["{key}"] is no setting of opencode_sessions. {meant}')


def _wrong(key: str, expected: str, value: object) -> ImproperlyConfigured:
    shown = f"of type {type(value).__name__}" if key in _MAY_HOLD_A_PASSWORD else repr(value)
    return ImproperlyConfigured(f'OPENCODE["{key}"] must be {expected}, not {shown}')


def _text(key: str, value: Any) -> str | None:
    """A non-empty string. None and "" count as not set, as from a missing environment variable."""
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise _wrong(key, "a string", value)
    return value


def _directory(key: str, value: Any) -> str | None:
    try:
        return directory_of(key, value)
    except ConfigurationError:
        raise _wrong(key, "an absolute path on the server's machine", value) from None


def _url(key: str, value: Any) -> str | None:
    url = _text(key, value)
    try:
        return url and server_url(url)
    except ConfigurationError as error:
        raise ImproperlyConfigured(f'OPENCODE["{key}"] cannot work: {error}') from error


def _servers(key: str, value: Any) -> Mapping[str, Server] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value:
        raise _wrong(key, 'a dict such as {"a": {"url": "http://…"}}', value)
    return {name: _server(key, name, said) for name, said in value.items()}


def _server(key: str, name: Any, said: Any) -> Server:
    if isinstance(said, Server):
        return said
    names = [each.name for each in fields(Server)]
    if not isinstance(said, Mapping) or not {"url"} <= set(said) <= set(names):
        raise ImproperlyConfigured(
            f'OPENCODE["{key}"]["{name}"] must be a dict with url and some of {", ".join(names[1:])}'
        )
    try:
        return Server(**said)
    except ConfigurationError as error:
        raise ImproperlyConfigured(f'OPENCODE["{key}"]["{name}"] cannot work: {error}') from error


def _namespace(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(key, "a string that is not empty", value)
    return value


def _count(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong(key, "a whole number from 1 on", value)
    return value


def _minute(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _MINUTE:
        raise _wrong(key, f"seconds above 0 and up to {_MINUTE:.0f}", value)
    return float(value)


def _positive(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise _wrong(key, "seconds above 0", value)
    return float(value)


def _chats(key: str, value: Any) -> Chats | None:
    found = _imported(key, value)
    made: Chats | None = found() if isinstance(found, type) else found
    for name in ("turns", "send"):
        method = getattr(made, name, None)
        if made is not None and (not callable(method) or is_coroutine_function(method)):
            raise _wrong(key, "an object whose methods `turns` and `send` are ordinary functions", value)
    return made


def _artifacts(key: str, value: Any) -> Artifacts | None:
    found = _imported(key, value)
    if found is not None and not isinstance(found, Artifacts):
        raise _wrong(key, "an Artifacts, or the dotted path of one", value)
    return found


def _uploads(key: str, value: Any) -> Uploads | None:
    found = Uploads(value) if isinstance(value, Path) else _imported(key, value)
    if found is not None and not isinstance(found, Uploads):
        raise _wrong(key, "an Uploads, the dotted path of one, or the Path of its folder", value)
    return found


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, "True or False", value)
    return value


def _seconds(key: str, value: Any) -> Timeouts:
    if isinstance(value, Timeouts):
        return value
    names = [each.name for each in fields(Timeouts)]
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise _wrong(key, f"a dict with some of {', '.join(names)}", value)
    if not all(isinstance(each, int | float) and each > 0 for each in value.values()):
        raise _wrong(key, "a dict of seconds above 0", value)
    return Timeouts(**value)


def _function(key: str, value: Any) -> Any:
    found = _ordinary(key, value)
    if not callable(found):
        raise _wrong(key, "a function, or the dotted path of one", value)
    return found


def _ordinary(key: str, value: Any) -> Any:
    found = _imported(key, value)
    if is_coroutine_function(found):
        raise _wrong(key, "an ordinary function and not async, as nobody would await it", value)
    return found


def _function_or_none(key: str, value: Any) -> Any:
    return None if value is None else _function(key, value)


def _rules(key: str, value: Any) -> PermissionsFor | None:
    found = _ordinary(key, value)
    if found is None or callable(found):
        return cast("PermissionsFor | None", found)
    try:
        return check_rules(found)
    except InvalidRulesError as error:
        raise ImproperlyConfigured(
            f'OPENCODE["{key}"] must be rules, such as opencode_sessions.READ_ONLY, or a function that returns some: '
            f"{error}"
        ) from error


def _runner(key: str, value: Any) -> Any:
    if value in ("threads", "tasks", "inline"):
        return value
    found = _imported(key, value) if isinstance(value, type) or "." in str(value) else None
    if not callable(found) and not isinstance(found, QueueDispatcher):
        raise _wrong(
            key, '"threads", "tasks", "inline" or the dotted path of a dispatcher or its class', value
        )
    return found


def _notifier(key: str, value: Any) -> Notifier | None:
    if value in (None, ""):
        return None
    try:
        named = isinstance(value, str) and "://" in value
        found: Notifier = notifier_at(value) if named else _imported(key, value)
        Relay(found, Threads())
    except ConfigurationError as error:
        raise ImproperlyConfigured(f'OPENCODE["{key}"] cannot work: {error}') from error
    return found


def _asks(key: str, value: Any) -> InTheRow | None:
    if not isinstance(value, str) or value not in _ASKS:
        raise _wrong(key, " or ".join(f'"{each}"' for each in _ASKS), value)
    return _ASKS[value]


def _telemetry(key: str, value: Any) -> Any:
    try:
        return telemetry_of(_imported(key, value))
    except ConfigurationError as error:
        raise ImproperlyConfigured(f'OPENCODE["{key}"] cannot work: {error}') from error


def _imported(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return import_string(value)
    except ImportError as error:
        raise ImproperlyConfigured(
            f'OPENCODE["{key}"] names {value!r}, which cannot be imported: {error}'
        ) from error


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "SERVER": _url,
    "SERVERS": _servers,
    "SERVER_FOR": _function_or_none,
    "LIMIT_FOR": _function_or_none,
    "USERNAME": _text,
    "PASSWORD": _text,
    "DIRECTORY": _directory,
    "NAMESPACE": _namespace,
    "TIMEOUTS": _seconds,
    "PERMISSIONS_FOR": _rules,
    "ON_ERROR": _function_or_none,
    "TURN_OPTIONS": _function,
    "MAY_SEE": _function,
    "RUNNER": _runner,
    "NOTIFIER": _notifier,
    "THREADS": _count,
    "RECOVER_AT_START": _flag,
    "RETRY": _function_or_none,
    "ARTIFACTS": _artifacts,
    "STREAM_SECONDS": _minute,
    "UPLOADS": _uploads,
    "CHATS": _chats,
    "CHAT_SECONDS": _positive,
    "ON_ASK": _asks,
    "TELEMETRY": _telemetry,
    "ALLOW_ALWAYS": _flag,
    "CURRENT_TENANT": _function_or_none,
    "TENANT_CONTEXT": _function_or_none,
    "ALL_TENANTS": _function_or_none,
}
