"""The routes of the server itself, of its directories, and of its event stream."""

from __future__ import annotations

import mimetypes
import os
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Any

from opencode_sessions.testing.v2.core import VERSION, Core
from opencode_sessions.testing.v2.errors import ApiError
from opencode_sessions.testing.v2.http import EventStream, Raw, Request, Router
from opencode_sessions.testing.v2.reading import directory_of, located, place_of

__all__ = ["add_server_routes"]

Json = dict[str, Any]


class ServerRoutes:
    """Handlers of what is about no session."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def info(self, request: Request) -> Json:
        """What the server is."""
        url = f"http://{request.headers.get('host', '')}"
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "urls": [url],
            "paths": {"tmp": tempfile.gettempdir()},
        }

    def events(self, _request: Request) -> EventStream:
        """All events from now on."""
        return EventStream(self._core.bus.stream())

    def location(self, request: Request) -> Json:
        """The directory that the request is about."""
        return place_of(directory_of(request, self._core))

    def agents(self, request: Request) -> Json:
        """The agents."""
        return located(
            directory_of(request, self._core), [self._agent(name) for name in self._core.config.agents]
        )

    def agent(self, request: Request) -> Json:
        """One agent."""
        name = request.params["agent"]
        if name not in self._core.config.agents:
            body = {"_tag": "AgentNotFoundError", "agentID": name, "message": f"Agent not found: {name}"}
            raise ApiError(HTTPStatus.NOT_FOUND, body)
        return located(directory_of(request, self._core), self._agent(name))

    def file(self, request: Request) -> Raw:
        """The content of a file in the directory."""
        path = request.params["path"]
        file = Path(directory_of(request, self._core), path)
        if not file.is_file():
            body = {"_tag": "FileNotFoundError", "path": path, "message": f"File not found: {path}"}
            raise ApiError(HTTPStatus.NOT_FOUND, body)
        return Raw(file.read_bytes(), mimetypes.guess_type(file)[0] or "application/octet-stream")

    def _agent(self, name: str) -> Json:
        agent = self._core.config.agents[name]
        shown: Json = {key: agent[key] for key in ("description", "steps") if key in agent}
        return {
            "id": name,
            "name": name,
            "request": {"settings": {}, "headers": {}, "body": {}},
            "mode": agent["mode"],
            "hidden": bool(agent.get("hidden")),
            "permissions": agent["permissions"],
            **shown,
        }


def add_server_routes(router: Router, core: Core) -> None:
    """Route what is about no session."""
    routes = ServerRoutes(core)
    router.add("GET", "/api/info", routes.info)
    router.add("GET", "/api/event", routes.events)
    router.add("GET", "/api/location", routes.location)
    router.add("GET", "/api/agent", routes.agents)
    router.add("GET", "/api/agent/{agent}", routes.agent)
    router.add("GET", "/api/fs/read/{path*}", routes.file)
