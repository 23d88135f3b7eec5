"""`manage.py login_link [NAME]`: a link that logs a user in, see `chat.door`."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError

from chat.door import link_for

__all__ = ["Command"]


class Command(BaseCommand):
    """Prints the link."""

    help = "Prints a link that logs a user in, who is made if there is none of that name. It holds once."
    requires_system_checks = ()  # they have nothing to say of a link

    def add_arguments(self, parser: CommandParser) -> None:
        """The user, and where the chat is."""
        parser.add_argument("username", nargs="?", default="demo")
        parser.add_argument("--at", default="http://127.0.0.1:8000", metavar="URL")

    def handle(self, *_: Any, username: str, at: str, **__: Any) -> None:
        """Print it."""
        try:
            link = link_for(username)
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(
                f"There is no chat in {settings.STATE} ({error}). If it is elsewhere, set CHAT_STATE to that folder; "
                "if it is to be here, run manage.py migrate first."
            ) from error
        self.stdout.write(at.rstrip("/") + link)
