"""`manage.py login_link [NAME]`: a link that logs a user in, see `chat.door`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chat.door import link_for

__all__ = ["Command"]


class Command(BaseCommand):
    """Prints the link."""

    help = "Prints a link that logs a user in, who is made if there is none of that name. It holds once."

    def add_arguments(self, parser: CommandParser) -> None:
        """The user, and where the chat is."""
        parser.add_argument("username", nargs="?", default="demo")
        parser.add_argument("--at", default="http://127.0.0.1:8000", metavar="URL")

    def handle(self, *_: Any, username: str, at: str, **__: Any) -> None:
        """Print it."""
        self.stdout.write(at.rstrip("/") + link_for(username))
