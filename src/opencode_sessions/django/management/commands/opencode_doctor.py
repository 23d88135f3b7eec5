"""`manage.py opencode_doctor`: checks of the installation, with advice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import django
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db import models

from opencode_sessions.django.checks import TAG
from opencode_sessions.django.clients import new_client, running
from opencode_sessions.django.conf import settings
from opencode_sessions.django.databases import databases_of, has_table
from opencode_sessions.django.leases import (
    abandoned,
    behind_another,
    being_run,
    parked,
    waiting_for_answer,
    waiting_for_place,
)
from opencode_sessions.django.registry import message_models, record_models
from opencode_sessions.django.rows import all_rows
from opencode_sessions.django.tenants import all_tenants, inside
from opencode_sessions.host.server_counts import load_of
from opencode_sessions.protocol.plain import one_line
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.server.diagnostics import (
    ABANDONED,
    MOST_SHOWN,
    Finding,
    State,
    describe_turns,
    look_at_binary,
    look_at_python,
    look_at_server,
    look_closer,
)
from opencode_sessions.sessions.servers import DEFAULT_SERVER
from opencode_sessions.store.record_columns import SERVER

__all__ = ["Command"]

_START = "opencode-sessions serve, in another terminal (with --offline for a model that needs no keys)"
_LOST = ", which is no server of the settings"
_MENDS = {
    ABANDONED: "manage.py opencode_recover resumes them; if they stay, no process recovers turns: see docs/deploy.md",
    _LOST: 'give the server its name back in OPENCODE["SERVERS"], or move its records: see docs/servers.md',
}
_STRAY = (
    "another project or database may run it; if none does, manage.py opencode_recover takes its turn up, and "
    "Client.stop(session_id) stops it"
)


class Command(BaseCommand):
    """Checks the installation. It changes nothing, and fails if a check fails."""

    help = "Look at what is there: Python, Django, the settings, the OpenCode server, the models and their turns."
    requires_system_checks = ()  # this command runs them as a part of its own

    def add_arguments(self, parser: CommandParser) -> None:
        """See the class."""
        parser.add_argument(
            "--project-config",
            action="store_true",
            help="Also look whether the server obeys configuration in the folder of an agent. It keeps a folder of "
            "15 MB in memory for that.",
        )

    def handle(self, *_: Any, project_config: bool, **__: Any) -> None:
        """See the class."""
        findings = list(_examine(self.stderr.write, project_config=project_config))
        width = max(len(finding.what) for finding in findings)
        styles = {State.OK: self.style.SUCCESS, State.WARNING: self.style.WARNING}
        for finding in findings:
            state = styles.get(finding.state, self.style.ERROR)(f"{finding.state:<8}")
            self.stdout.write(f"{state} {finding.what:<{width}}  {finding.found}")
            if finding.mend:
                self.stdout.write(f"{'':{width + 9}}  → {finding.mend}")
        if any(finding.broken for finding in findings):
            raise CommandError("something is missing or broken")


def _examine(say: Callable[[str], object], *, project_config: bool) -> Iterator[Finding]:
    yield look_at_python()
    yield Finding("Django", State.OK, django.get_version())
    yield from _checked()
    try:
        asked_for = settings().server is not None or settings().servers is not None
    except ImproperlyConfigured:
        return  # the system checks have reported it
    names = list(settings().named_servers)
    for name in names:
        for finding in _server(name, say, asked_for=asked_for, project_config=project_config):
            yield finding if len(names) == 1 else replace(finding, what=f"{finding.what} of {name}")
    if len(names) > 1:
        yield _load()
    yield from _models()


def _server(
    name: str, say: Callable[[str], object], *, asked_for: bool, project_config: bool
) -> Iterator[Finding]:
    make = partial(new_client, name)
    server = look_at_server(make, asked_for=asked_for, start=_START, say=say)
    yield server
    if server.state is not State.OK:
        yield look_at_binary(needed=False)
        return
    running, stray = _sessions_of_turns, _STRAY
    yield from look_closer(make, running=running, stray=stray, project_config=project_config)


def _load() -> Finding:
    """How many turns run on each server, and what the settings say of it."""
    what = "load of servers"
    try:
        found = run_sync(running())
    except DatabaseError as error:
        return Finding(
            what, State.BROKEN, f"cannot be read: {one_line(str(error))}", "the database's own log"
        )
    return Finding(what, State.OK, load_of(settings(), found))


def _checked() -> Iterator[Finding]:
    found = checks.run_checks(tags=[TAG])
    for message in found:
        state = State.BROKEN if message.is_serious() else State.WARNING
        about = "" if message.obj is None else f"{message.obj}: "
        yield Finding("settings", state, f"{about}{message.msg} ({message.id})", str(message.hint or ""))
    if not found:
        yield Finding("settings", State.OK, "nothing to complain about")


def _models() -> Iterator[Finding]:
    records, messages = record_models(), message_models()
    if not records:
        mend = "let a model inherit from opencode_sessions.django.models.RecordModel"
        yield Finding("models", State.WARNING, "no model owns sessions", mend)
    for model in records:
        yield from _rows(model, _sessions_of)
    for model in messages:
        yield from _rows(model, _turns_of)


def _rows(
    model: type[models.Model], say: Callable[[models.QuerySet[models.Model]], str]
) -> Iterator[Finding]:
    """The checks of a model's rows in each database of each tenant."""
    what = model._meta.label  # noqa: SLF001 - documented
    tables = 0
    for tenant in all_tenants():
        with inside(tenant):
            for alias in databases_of(model):
                place = f"{alias}, tenant {tenant}" if tenant else alias
                try:
                    if not has_table(model, alias):
                        continue
                    tables += 1
                    said = f"in {place}: {say(all_rows(model, alias))}"
                except DatabaseError as error:
                    reason = next(iter(str(error).split("\n")))
                    mend = "manage.py migrate, or the database's own log"
                    yield Finding(what, State.BROKEN, f"cannot be read in {place}: {reason}", mend)
                else:
                    mend = next((mend for mark, mend in _MENDS.items() if mark in said), "")
                    yield Finding(what, State.WARNING if mend else State.OK, said, mend)
    if not tables:
        yield Finding(what, State.MISSING, "has no table yet", "manage.py makemigrations, and then migrate")


def _sessions_of_turns() -> set[str]:
    """The sessions in which turns run now, or wait for a person, in each database of each tenant."""
    found: set[str] = set()
    for tenant in all_tenants():
        with inside(tenant):
            for model in message_models():
                for alias in databases_of(model):
                    with contextlib.suppress(DatabaseError):  # the model's own check reports it
                        rows = all_rows(model, alias).filter(being_run() | parked())
                        found.update(rows.values_list("opencode_prompt_session_id", flat=True))
    return found


def _sessions_of(rows: models.QuerySet[models.Model]) -> str:
    sessions = rows.filter(opencode_session_id__isnull=False)
    said = f"{rows.count():,} rows, {sessions.count():,} with a session"
    known = settings().named_servers
    if list(known) == [DEFAULT_SERVER]:
        return said
    counts = sessions.order_by().values_list(SERVER).annotate(models.Count("pk"))
    places = [(name or DEFAULT_SERVER, count) for name, count in counts]
    return ", ".join(
        [said, *(f"{count:,} on {name}{'' if name in known else _LOST}" for name, count in sorted(places))]
    )


def _turns_of(rows: models.QuerySet[models.Model]) -> str:
    states = {
        "run": being_run(),
        "wait for an answer": waiting_for_answer(),
        "wait for another turn": behind_another(),
        "wait for a place": waiting_for_place(),
        ABANDONED: abandoned(),
    }
    found = {state: rows.filter(condition).order_by("pk") for state, condition in states.items()}
    return describe_turns(
        rows.count(),
        {
            state: (some.count(), list(some.values_list("pk", flat=True)[:MOST_SHOWN]))
            for state, some in found.items()
        },
    )
