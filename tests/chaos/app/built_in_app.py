"""An app without a queue: its web processes run the turns themselves, and workers take up what these leave."""

from __future__ import annotations

import threading

from models import Message, sessions
from policy import notifier, settings

from opencode_sessions.host import Host
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable

opencode = Host(settings, tables=[SQLAlchemyTurnTable(Message, sessions)], notifier=notifier)

if __name__ == "__main__":
    with opencode:
        threading.Event().wait()
