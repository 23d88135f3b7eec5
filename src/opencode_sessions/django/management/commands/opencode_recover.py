"""`manage.py opencode_recover`: runs abandoned turns in this process."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from opencode_sessions.django.conf import settings
from opencode_sessions.django.host import thread_pool, use
from opencode_sessions.jobs.attempts import TurnAttempts
from opencode_sessions.store.messages import PENDING_LEASE

__all__ = ["Command"]

_LOOK = 0.2
_RENEW = 15.0


class Command(BaseCommand):
    """Ends when no turn is left; with `--watch`, at SIGTERM or Ctrl-C."""

    help = "Run the turns that nobody runs any more; with --watch, look for them again and again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand.add_arguments`."""
        parser.add_argument(
            "--watch", type=float, metavar="SECONDS", help="Look again after so long, until stopped."
        )

    def handle(self, *_: Any, watch: float | None, **__: Any) -> None:
        """See the class."""
        if watch is not None and not 0 < watch < PENDING_LEASE:
            raise CommandError(f"--watch needs a number of seconds between 0 and {PENDING_LEASE:g}")
        stopped = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        pool = thread_pool(
            settings().turns, recover=watch is not None, every=watch or _RENEW, ended=self._tell
        )
        use(pool)  # turns that are parked behind one that ends here run here, too
        try:
            pool.look()
            pool.start()
            while not stopped.wait(_LOOK) and (watch is not None or not pool.idle):
                pass
        except KeyboardInterrupt:
            self.stderr.write("stopped; what runs is left to the next one")
        finally:
            pool.stop()
            signal.signal(signal.SIGTERM, before)

    def _tell(self, attempts: TurnAttempts) -> None:
        if attempts.parked:
            self.stdout.write(f"{attempts.job}: parked, it waits for a person, another turn or a place")
        elif attempts.result is None:
            self.stdout.write(f"{attempts.job}: left to others")
        else:
            self.stdout.write(f"{attempts.job}: {attempts.result.status}")
        self.stdout.flush()  # a file or a pipe would otherwise get it only at the end
