"""Turns that Starlette apps show and steer: a lifespan, and routes. For FastAPI see `opencode_sessions.fastapi`.

::

    opencode = AsyncHost(HostSettings(permissions_for=…), tables=[SQLAlchemyTurnTable(Message, sessionmaker)])
    turns = Mount("/turns", routes=turn_routes(opencode, may_see=owns))
    app = Starlette(routes=[…, turns], lifespan=opencode.lifespan)
"""

from __future__ import annotations

from opencode_sessions.host import AsyncHost, HostSettings, Refused
from opencode_sessions.starlette.routes import chat_routes, turn_routes

__all__ = ["AsyncHost", "HostSettings", "Refused", "chat_routes", "turn_routes"]
