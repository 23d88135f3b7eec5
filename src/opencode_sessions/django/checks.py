"""The system checks of `manage.py check`: settings, models and their databases. None queries a database.

| id | finding |
|---|---|
| `opencode.E001` | `OPENCODE` cannot work |
| `opencode.E002` | a message's model does not lead to its record |
| `opencode.E003` | a column that must be unique is not |
| `opencode.E004` | a database without autocommit |
| `opencode.E005` | the runner `tasks`, without a task backend that runs tasks |
| `opencode.E006` | a field of the host's own that cannot hold its values |
| `opencode.E007` | a database with a schema for each tenant, and no setting that names the tenants |
| `opencode.W001` | no server is configured |
| `opencode.W002` | SQLite, configured so that writers block each other |
| `opencode.W003` | a database with which this library is not tested |
| `opencode.W004` | a message's model without the constraint on its status |
| `opencode.W005` | no namespace, so other projects on the server may use the same one |
| `opencode.W006` | permission rules that look closed but leave something open |
| `opencode.W007` | a record's model without a title |
| `opencode.W008` | the views are installed, and no user may see a turn |
| `opencode.W020` | with `--deploy`: a server without a password |
| `opencode.W021` | with `--deploy`: an unencrypted password over a network |
| `opencode.W022` | with `--deploy`: turns that run within the request |
"""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

import httpx2
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, models
from django.urls import NoReverseMatch, reverse

from opencode_sessions.django.conf import OpencodeSettings, settings
from opencode_sessions.django.databases import databases_of
from opencode_sessions.django.host import dispatcher
from opencode_sessions.django.registry import message_models, record_field, record_models
from opencode_sessions.django.tenants import switches_schemas
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host.steering import nobody
from opencode_sessions.protocol.permissions import Rule, check_rules
from opencode_sessions.protocol.rule_review import review_rules
from opencode_sessions.sessions.spec import TITLE_HINT, has_title
from opencode_sessions.wire.address import Address

__all__ = [
    "TAG",
    "check_databases",
    "check_deployment",
    "check_models",
    "check_rules_of_records",
    "check_settings",
]

TAG = "opencode"

_TESTED = ("sqlite", "postgresql", "mysql")
_UNIQUE = ("opencode_session_id", "opencode_prompt_id")


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """E001, E005, W001, W005, W008."""
    try:
        now = settings()
        _address(now)
        if callable(now.runner):
            dispatcher()
    except (ImproperlyConfigured, ConfigurationError) as error:
        return [checks.Error(str(error), id="opencode.E001")]
    found: list[checks.CheckMessage] = []
    if now.server is None and not os.environ.get("OPENCODE_BASE_URL"):
        hint = 'OPENCODE = {"SERVER": "http://127.0.0.1:4096"}, or OPENCODE_BASE_URL in the environment.'
        found.append(checks.Warning("No OpenCode server is named.", hint=hint, id="opencode.W001"))
    if now.namespace is None:
        said = "No namespace is set: another project on this server may have the same one. Nothing is pruned."
        hint = 'OPENCODE["NAMESPACE"], a name of this project\'s own; "opencode-sessions" if the server has no other.'
        found.append(checks.Warning(said, hint=hint, id="opencode.W005"))
    if now.may_see is nobody and _has_views():
        hint = 'OPENCODE["MAY_SEE"], the dotted name of a function of the request and the message.'
        found.append(checks.Warning("The views show turns to nobody.", hint=hint, id="opencode.W008"))
    if now.runner == "tasks" and (trouble := _trouble_with_tasks()) is not None:
        found.append(checks.Error(f'OPENCODE["RUNNER"] is "tasks", but {trouble}', id="opencode.E005"))
    return found


def _has_views() -> bool:
    try:
        reverse("opencode:events", args=["app.model", 1])
    except (NoReverseMatch, ImproperlyConfigured):  # the latter: the project has no URLs at all
        return False
    return True


def check_models(**_: Any) -> list[checks.CheckMessage]:
    """E002, E003, E006, W004, W007."""
    found: list[checks.CheckMessage] = []
    for model in message_models():
        found += _check_record_of(model)
        if not any(isinstance(each, models.CheckConstraint) for each in model._meta.constraints):
            hint = f"class Meta(MessageModel.Meta): … in {model.__name__}, and then makemigrations."
            said = "Its table takes any status: it lacks the constraint of MessageModel."
            found.append(checks.Warning(said, hint=hint, obj=model, id="opencode.W004"))
    for model in record_models():
        if not has_title(model):
            said = "Its sessions have no title of yours: the model has no attribute title."
            hint = f"{TITLE_HINT.format(model.__name__)}."
            found.append(checks.Warning(said, hint=hint, obj=model, id="opencode.W007"))
    for model in {*message_models(), *record_models()}:
        found += _check_kinds(model)
        for field in model._meta.local_fields:
            if field.name in _UNIQUE and not _is_unique(model, field):
                said = "Two rows could name the same one: it must be unique."
                hint = "Give the field unique=True, and then makemigrations."
                found.append(checks.Error(said, hint=hint, obj=field, id="opencode.E003"))
    return found


def check_rules_of_records(**_: Any) -> list[checks.CheckMessage]:
    """W006: for a list of rules, or for the rules that the host's function returns for an empty record."""
    try:
        given = settings().permissions_for
    except ImproperlyConfigured:
        return []  # E001 says so
    lists: list[tuple[Any, Sequence[Rule]]]
    if callable(given):
        lists = [(model, _rules_of(model, given)) for model in record_models()]
    else:
        lists = [(None, check_rules(given or ()))]
    return [
        checks.Warning(f"Permission rules: {said}.", obj=about, id="opencode.W006")
        for about, rules in lists
        for said in review_rules(rules)
    ]


def check_databases(**_: Any) -> list[checks.CheckMessage]:
    """E004, E007, W002, W003."""
    aliases = {alias for model in (*message_models(), *record_models()) for alias in databases_of(model)}
    aliases |= {alias for alias in connections if switches_schemas(alias)}
    return [message for alias in sorted(aliases) for message in _check_database(alias)]


def check_deployment(**_: Any) -> list[checks.CheckMessage]:
    """W020, W021, W022."""
    try:
        return list(_deployed(settings()))
    except (ImproperlyConfigured, ConfigurationError):
        return []  # E001 says so


def _address(now: OpencodeSettings) -> Address:
    return Address.resolve(now.server, password=now.password, username=now.username)


def _rules_of(model: type[models.Model], permissions_for: Callable[[Any], Iterable[Rule]]) -> Sequence[Rule]:
    """Empty if the function needs values of a record; its rules are then reviewed and logged when they are sent."""
    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(connections[alias].execute_wrapper(_refuse_query))
        with suppress(Exception):
            return check_rules(permissions_for(model()))
    return ()


def _refuse_query(*_: Any) -> NoReturn:
    raise DatabaseError("a system check asks no database")


def _check_record_of(model: type[models.Model]) -> list[checks.CheckMessage]:
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - not before the apps are there

    said = getattr(model, "opencode_record", None)
    if said is None:
        hint = (
            "Inherit from opencode_sessions.django.models.MessageModel, or define a property opencode_record."
        )
        return [checks.Error("Its turns belong to no record.", hint=hint, obj=model, id="opencode.E002")]
    if said is MessageModel.opencode_record:
        try:
            record_field(model)
        except ConfigurationError as error:
            return [checks.Error(str(error), obj=model, id="opencode.E002")]
    return []


def _check_kinds(model: type[models.Model]) -> Iterator[checks.CheckMessage]:
    """Check a model's own fields with our names, which replace ours."""
    from opencode_sessions.django.models import MessageModel, RecordModel  # noqa: PLC0415 - as above

    for ours in (*MessageModel._meta.local_fields, *RecordModel._meta.local_fields):
        field = next((field for field in model._meta.local_fields if field.name == ours.name), None)
        if field is not None and not _can_hold(field, ours):
            yield checks.Error(
                f"It cannot hold what is stored in it: the library's own is {_described(ours)}.",
                hint=f"Give this field another name, or make it {_described(ours)}, and then makemigrations.",
                obj=field,
                id="opencode.E006",
            )


def _can_hold(field: models.Field[Any, Any], ours: models.Field[Any, Any]) -> bool:
    if isinstance(ours, models.CharField | models.TextField):
        length = field.max_length or math.inf
        fits = isinstance(field, models.CharField | models.TextField) and length >= (
            ours.max_length or math.inf
        )
    elif isinstance(ours, models.FloatField):
        fits = isinstance(field, models.FloatField | models.DecimalField)
    else:
        fits = isinstance(field, type(ours)) and not isinstance(field, models.SmallIntegerField)
    return fits and (field.null or not ours.null)


def _described(field: models.Field[Any, Any]) -> str:
    said = {"max_length": field.max_length, "null": field.null}
    return f"{type(field).__name__}({', '.join(f'{name}={value}' for name, value in said.items() if value)})"


def _is_unique(model: type[models.Model], field: models.Field[Any, Any]) -> bool:
    if field.unique:
        return True
    alone = [(field.name,), [field.name]]
    constraints = (each for each in model._meta.constraints if isinstance(each, models.UniqueConstraint))
    return any(each.fields in alone and each.condition is None for each in constraints)


def _check_database(alias: str) -> Iterator[checks.CheckMessage]:
    connection = connections[alias]
    said = connection.settings_dict
    with suppress(ImproperlyConfigured):  # E001 says so
        if settings().current_tenant is None and switches_schemas(alias):
            yield checks.Error(
                f"The database {alias!r} has a schema for each tenant, and nothing names the tenant of a turn.",
                hint="CURRENT_TENANT, TENANT_CONTEXT and ALL_TENANTS in OPENCODE; see docs/tenants.md.",
                id="opencode.E007",
            )
    if not said["AUTOCOMMIT"]:
        yield checks.Error(
            f"The database {alias!r} has AUTOCOMMIT off: a transaction is open around everything, and the row of a "
            "session is written in short ones of its own.",
            hint=f'DATABASES["{alias}"]["AUTOCOMMIT"] = True, or keep these models elsewhere.',
            id="opencode.E004",
        )
    if connection.vendor not in _TESTED:
        yield checks.Warning(
            f"The database {alias!r} is of a kind ({connection.display_name}) that this library is not tested with.",
            hint="Run opencode_sessions.testing.conformance over it; see docs/stores.md.",
            id="opencode.W003",
        )
    if connection.vendor == "sqlite" and (trouble := _trouble_with_sqlite(said)):
        yield checks.Warning(
            f"The database {alias!r} is SQLite {trouble}: turns that write at the same time would meet "
            "'database is locked'.",
            hint=f'DATABASES["{alias}"]["OPTIONS"] = {{"timeout": 30, "init_command": "PRAGMA journal_mode = WAL"}}',
            id="opencode.W002",
        )


def _trouble_with_sqlite(said: dict[str, Any]) -> str:
    name, options = str(said["NAME"]), said["OPTIONS"]
    if name == ":memory:" or "mode=memory" in name:
        return "in memory, which other threads and processes do not see"
    keeps_log = "wal" in str(options.get("init_command", "")).lower() or _has_write_ahead_log(name)
    patient = options.get("timeout", 5) >= 5  # noqa: PLR2004 - Python's own, in seconds
    return (
        ""
        if keeps_log and patient
        else "without a write-ahead log"
        if not keeps_log
        else "with a short timeout"
    )


def _has_write_ahead_log(name: str) -> bool:
    """Whether the database uses WAL, according to the format version in its file."""
    try:
        with Path(name).open("rb") as file:
            return file.read(20)[18:] == b"\x02\x02"
    except OSError:
        return False


def _trouble_with_tasks() -> str | None:
    try:
        from django.tasks import task_backends  # noqa: PLC0415 - there is none in Django 5.2
        from django.tasks.exceptions import InvalidTaskBackend  # noqa: PLC0415 - likewise
    except ImportError:
        return 'this Django has no django.tasks: use Django 6.0 or newer, or "threads".'
    try:
        kind = type(task_backends["default"]).__name__
    except InvalidTaskBackend as error:
        return f"TASKS is wrong: {error}"
    return f"TASKS names the {kind}, which runs nothing." if kind == "DummyBackend" else None


def _waits_in_the_request(now: OpencodeSettings) -> bool:
    if now.runner != "tasks":
        return bool(now.runner == "inline")
    from django.tasks import task_backends  # noqa: PLC0415 - there is none in Django 5.2

    return type(task_backends["default"]).__name__ == "ImmediateBackend"


def _deployed(now: OpencodeSettings) -> Iterator[checks.CheckMessage]:
    address = _address(now)
    url = httpx2.URL(address.base_url)
    if address.password is None:
        yield checks.Warning(
            "The OpenCode server has no password: whoever reaches its port can run commands as its user.",
            hint='OPENCODE["PASSWORD"], and OPENCODE_SERVER_PASSWORD in the environment of the server.',
            id="opencode.W020",
        )
    elif url.scheme == "http" and not _is_here(url.host):
        yield checks.Warning(
            "The password of the OpenCode server, and all that is said, goes over the network in clear.",
            hint='An https URL in OPENCODE["SERVER"], or a private network; silence it if that is what you have.',
            id="opencode.W021",
        )
    if not any(each.is_serious() for each in check_settings()) and _waits_in_the_request(now):
        yield checks.Warning(
            f'OPENCODE["RUNNER"] is "{now.runner}", and runs turns at once: a request waits until its turn has ended.',
            hint='"threads", or "tasks" with a backend in TASKS that has workers.',
            id="opencode.W022",
        )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
