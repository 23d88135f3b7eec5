"""`manage.py opencode_files`: files of agents that are left over, listed or removed."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from opencode_sessions.django.conf import settings
from opencode_sessions.django.databases import databases_of, has_table
from opencode_sessions.django.records import DjangoRecordStore
from opencode_sessions.django.registry import record_models
from opencode_sessions.django.rows import all_rows
from opencode_sessions.django.tenants import all_tenants, inside
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.tidying import (
    LeftOverFiles,
    clear_left_over,
    left_over_lines,
    left_over_summary,
    look_for_left_over,
)
from opencode_sessions.protocol.plain import one_line
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sessions.prune_report import parse_duration
from opencode_sessions.store.record_columns import UID

__all__ = ["Command"]


class Command(BaseCommand):
    """Asks all models of records, in all their databases and tenants."""

    help = "List files of agents that are left over: of records that are gone, and of processes that died."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand.add_arguments`."""
        parser.add_argument(
            "--delete", action="store_true", help="Remove what is found, rather than list it."
        )
        parser.add_argument(
            "--older-than",
            default="1h",
            metavar="TIME",
            help="Only folders and bytes that are so old: 90s, 30m, 24h, 7d.",
        )

    def handle(self, *_: Any, delete: bool, older_than: str, **__: Any) -> None:
        """See the class."""
        artifacts, uploads = settings().artifacts, settings().uploads
        if artifacts is None:
            raise CommandError('OPENCODE["ARTIFACTS"] says nothing: this project keeps no files of agents')
        try:
            seconds = parse_duration(older_than).total_seconds()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        found: dict[str, LeftOverFiles] = {}
        uids: set[str] = set()
        for tenant in all_tenants():
            with inside(tenant):
                uids |= {uid for _, uid in _each_record()}
                found[tenant] = run_sync(look_for_left_over(artifacts, _records, older_than=seconds))
        # A folder, or bytes, can be another tenant's: left over is what is so for all of them.
        shared = LeftOverFiles(
            folders=sorted(set.intersection(*(set(each.folders) for each in found.values()))),
            stored=list(set.intersection(*(set(each.stored) for each in found.values()))),
            uploads=uploads.left_over(uids, older_than=seconds) if uploads is not None else (),
        )
        count = len(shared.folders) + len(shared.stored) + len(shared.uploads)
        for tenant, each in found.items():
            count += len(each.records)
            with inside(tenant):
                self._clear(artifacts, LeftOverFiles(each.records), delete=delete)
        self._clear(artifacts, shared, delete=delete)
        self.stdout.write(left_over_summary(count, deleted=delete))

    def _clear(self, artifacts: Artifacts, found: LeftOverFiles, *, delete: bool) -> None:
        uploads = settings().uploads
        if delete:
            run_sync(clear_left_over(artifacts, found))
            if uploads is not None:
                uploads.remove_left_over(found.uploads)
        for line in left_over_lines(found):
            self.stdout.write(one_line(line, limit=500))


async def _records() -> Iterator[tuple[str, str]]:
    """Those of the tenant in force."""
    return _each_record()


def _each_record() -> Iterator[tuple[str, str]]:
    for model in record_models():
        for using in databases_of(model):
            if has_table(model, using):
                for record in all_rows(model, using).only("pk", UID).iterator():
                    yield DjangoRecordStore(record).key, getattr(record, UID) or ""
