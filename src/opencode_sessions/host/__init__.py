"""Hosts: one object in each process that runs turns in the background and shows them, for any framework.

::

    opencode = AsyncHost(HostSettings(server=…, permissions_for=…), tables=[SQLAlchemyTurnTable(Message, engine)])

    async with opencode:
        …
        await opencode.enqueue(message)    # in the caller's transaction; it runs after the commit
"""

from __future__ import annotations

from opencode_sessions.host.hosts import AsyncHost, Host
from opencode_sessions.host.limits import Limit
from opencode_sessions.host.servers import Server
from opencode_sessions.host.settings import HostSettings
from opencode_sessions.host.steering import Refused

__all__ = ["AsyncHost", "Host", "HostSettings", "Limit", "Refused", "Server"]
