"""`manage.py opencode_recover`: run the turns that their runners left behind, in this process."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from opencode_sessions.django import running
from opencode_sessions.django.conf import settings
from opencode_sessions.django.efforts import PROMISE, Effort
from opencode_sessions.django.threads import ThreadRunner

__all__ = ["Command"]

_LOOK = 0.2
_RENEW = 15.0


class Command(BaseCommand):
    """Ends when nothing is left; with `--watch`, when it is told to (SIGTERM, Ctrl-C)."""

    help = "Run the turns that nobody runs any more; with --watch, look for them again and again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand.add_arguments`."""
        parser.add_argument(
            "--watch", type=float, metavar="SECONDS", help="Look again after so long, until stopped."
        )

    def handle(self, *_: Any, watch: float | None, **__: Any) -> None:
        """See the class."""
        if watch is not None and not 0 < watch < PROMISE:
            raise CommandError(f"--watch needs a number of seconds between 0 and {PROMISE:g}")
        stopped = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        runner = ThreadRunner(
            settings().threads, recover=watch is not None, every=watch or _RENEW, told=self._tell
        )
        running.use(runner)  # what waits behind a turn that ends here is run here
        try:
            runner.look()
            runner.start()
            while not stopped.wait(_LOOK) and (watch is not None or not runner.idle):
                pass
        except KeyboardInterrupt:
            self.stderr.write("stopped; what runs is left to the next one")
        finally:
            runner.stop()
            signal.signal(signal.SIGTERM, before)

    def _tell(self, effort: Effort) -> None:
        if effort.parked:
            self.stdout.write(f"{effort.job}: parked, it waits for a person or for another turn")
        elif effort.result is None:
            self.stdout.write(f"{effort.job}: left to others")
        else:
            self.stdout.write(f"{effort.job}: {effort.result.status}")
        self.stdout.flush()  # to a file or a pipe, it would be told at the end
