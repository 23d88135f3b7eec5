"""`manage.py opencode_prune`: lists or deletes sessions on the server that no row names any more."""

from __future__ import annotations

import json
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from opencode_sessions.django.clients import servers
from opencode_sessions.django.conf import settings
from opencode_sessions.django.databases import databases_with_table
from opencode_sessions.django.index import DjangoIndex
from opencode_sessions.django.registry import record_models
from opencode_sessions.errors import ConfigurationError, OpencodeError
from opencode_sessions.protocol.plain import one_line
from opencode_sessions.reporting import ErrorContext, OnError
from opencode_sessions.sessions.prune_report import (
    leftover_facts,
    leftover_lines,
    parse_duration,
    progress_of,
    summary_of,
)
from opencode_sessions.sessions.pruning import Leftover, Pruner

__all__ = ["Command"]

_BEAT = 0.5
_CLEAR = "\x1b[K"


class Command(BaseCommand):
    """Uses all models with the column, in all their databases."""

    help = "List the OpenCode sessions that no row names any more; with --delete, delete them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand.add_arguments`."""
        parser.add_argument(
            "--delete", action="store_true", help="Delete what is found, rather than list it."
        )
        parser.add_argument(
            "--grace",
            "--older-than",
            dest="grace",
            default="24h",
            metavar="TIME",
            help="Only what was not used for so long: 90s, 30m, 24h, 7d.",
        )
        parser.add_argument("--json", dest="as_json", action="store_true", help="One line of JSON on stdout.")

    def handle(self, *_: Any, delete: bool, grace: str, as_json: bool, **__: Any) -> None:
        """See the class."""
        failures = 0

        def failed(error: Exception, context: ErrorContext) -> None:
            nonlocal failures
            failures += 1
            self.stderr.write(f"{context.session_id}: {one_line(str(error), limit=500)}")

        pruner = self._pruner(grace, failed, deleting=delete)
        found: list[Leftover] = []
        try:
            with self._progress(pruner, found):
                for leftover in (pruner.delete if delete else pruner.find)(servers()):
                    found.append(leftover)  # noqa: PERF402 - keeps the results before an error or Ctrl-C
        except OpencodeError as error:
            raise CommandError(str(error)) from error
        finally:
            self._tell(found, pruner, deleting=delete, as_json=as_json)
        if failures:
            raise CommandError(f"{failures} could not be deleted")

    @staticmethod
    def _pruner(grace: str, on_error: OnError, *, deleting: bool) -> Pruner:
        try:
            indexes = [
                DjangoIndex(model, using=alias)
                for model in record_models()
                for alias in databases_with_table(model)
            ]
            namespace = settings().namespace
            pruner = Pruner(*indexes, namespace=namespace, grace=parse_duration(grace), on_error=on_error)
            if deleting:
                pruner.check_may_delete()
        except ConfigurationError as error:
            raise CommandError(f"cannot prune: {error}") from error
        return pruner

    @contextmanager
    def _progress(self, pruner: Pruner, found: list[Leftover]) -> Iterator[None]:
        """A line with the progress, on a terminal."""
        over = threading.Event()

        def show() -> None:
            while not over.wait(_BEAT):
                self.stderr.write(f"\r{progress_of(found, scanned=pruner.scanned)}", str, ending="")
                self.stderr.flush()
            self.stderr.write(f"\r{_CLEAR}", str, ending="")

        watching = threading.Thread(target=show, daemon=True)
        if self.stderr.isatty():
            watching.start()
        try:
            yield
        finally:
            over.set()
            if watching.ident is not None:
                watching.join()

    def _tell(self, found: list[Leftover], pruner: Pruner, *, deleting: bool, as_json: bool) -> None:
        """Print the result, also after an error."""
        counts = {"scanned": pruner.scanned, "of_other_tables": pruner.of_other_tables}
        if as_json:
            self.stdout.write(json.dumps({**counts, "leftovers": [leftover_facts(each) for each in found]}))
            return
        for line in leftover_lines(found) if found else ():
            self.stdout.write(line)
        named = settings().namespace is not None
        self.stdout.write(summary_of(found, deleting=deleting, named=named, **counts))
