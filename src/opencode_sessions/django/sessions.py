"""The session of a record and the turn of a message, with all options from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from opencode_sessions.django.artifacts.store import DjangoArtifactStore
from opencode_sessions.django.clients import arunning, async_servers, ausage, running, servers, usage
from opencode_sessions.django.conf import settings
from opencode_sessions.django.registry import record_of
from opencode_sessions.django.relay import relay
from opencode_sessions.django.signals import Announcing
from opencode_sessions.django.turn_rows import rows
from opencode_sessions.django.turn_table import table
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host.turn_options import turn_options, with_uploads
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.sessions.session import AsyncSession, Session
from opencode_sessions.store.lookup import message_store
from opencode_sessions.turns.observers import Observers, listeners_of
from opencode_sessions.turns.turn import AsyncTurn, Turn

__all__ = ["aprepared_turn", "asession_for", "aturn_for", "prepared_turn", "session_for", "turn_for"]


def session_for(record: models.Model) -> Session:
    """The session of a record, with `PERMISSIONS_FOR`, `NAMESPACE` and `ON_ERROR` of the settings.

    ::

        session_for(conversation).ensure(servers())
    """
    return Session(record, **settings().session_options())


async def asession_for(record: models.Model) -> AsyncSession:
    """See `session_for`; for asyncio, with `async_servers()`."""
    return AsyncSession(record, **settings().session_options())


def turn_for(message: models.Model, *, observer: Observers = None, **options: Any) -> Turn:
    """The turn of a message, with all options from the settings. It sends the signals of `signals` in its runner.

    Args:
        message: A saved message; its `opencode_record` is the record of the session.
        observer: Gets every event, in addition to the signals.
        options: Options of `Turn`; they override those of `TURN_OPTIONS`.

    Raises:
        ConfigurationError: The message has no record, or the options cannot work.
        ImproperlyConfigured: The settings cannot work.
    """
    return prepared_turn(message, observer=observer, options=options)[0]


def prepared_turn(
    message: models.Model,
    *,
    observer: Observers = None,
    options: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Turn, Announcing, Mapping[str, Any]]:
    """The turn of a message, with the object that sends its signals, and its options.

    Args:
        message: See `turn_for`.
        observer: See `turn_for`.
        options: They override those of `TURN_OPTIONS`.
        defaults: Those of `TURN_OPTIONS` override them.
    """
    session = session_for(record_of(message))
    announcing, found = _turn_options(message, observer, options or {}, defaults or {}, asynchronous=False)
    return Turn(message, session, servers(), **found), announcing, found


async def aturn_for(message: models.Model, *, observer: Observers = None, **options: Any) -> AsyncTurn:
    """See `turn_for`; for asyncio. `TURN_OPTIONS` and `opencode_record` may query."""
    return (await aprepared_turn(message, observer=observer, options=options))[0]


async def aprepared_turn(
    message: models.Model,
    *,
    observer: Observers = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[AsyncTurn, Announcing]:
    """See `prepared_turn`."""

    def prepare() -> tuple[models.Model, tuple[Announcing, Mapping[str, Any]]]:
        return record_of(message), _turn_options(message, observer, options or {}, {}, asynchronous=True)

    record, (announcing, found) = await sync_to_async(prepare)()
    turn = AsyncTurn(message, await asession_for(record), async_servers(), **found)
    return turn, announcing


def _turn_options(
    message: models.Model,
    observer: Observers,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    *,
    asynchronous: bool,
) -> tuple[Announcing, Mapping[str, Any]]:
    now = settings()
    try:
        given = turn_options('OPENCODE["TURN_OPTIONS"]', now.turn_options, message)
    except ConfigurationError as error:
        raise ImproperlyConfigured(str(error)) from error
    known = {
        "on_ask": now.on_ask,
        **_artifacts(message, asynchronous=asynchronous),
        **defaults,
        **given,
        **options,
    }
    found = with_uploads(known, now.uploads, message)
    announcing = Announcing(message)
    others = listeners_of(found.get("observer") if observer is None else observer)
    teller = relay().teller(rows.key_of(message))
    store = teller.store(message_store(message, found.get("store"), asynchronous=asynchronous))
    gate, limit = now.limits(message, *((arunning, ausage) if asynchronous else (running, usage)))
    return announcing, {
        **found,
        "store": store if limit is None else limit.store(store),
        "observer": (announcing, teller, *now.listeners(), *others),
        "gate": gate,
    }


def _artifacts(message: models.Model, *, asynchronous: bool) -> Mapping[str, Any]:
    """The collector of the files that the agent makes, from the settings."""
    found, on_error = settings().artifacts, settings().on_error
    if found is None:
        return {}
    if asynchronous and isinstance(found.store, DjangoArtifactStore):
        found = replace(found, store=found.store.suspending())
    job = table.job_of(message)
    context = ErrorContext("collect", str(job))
    return {"artifacts": found.of_turn(job, lambda error: ErrorReporter(on_error)(error, context))}
