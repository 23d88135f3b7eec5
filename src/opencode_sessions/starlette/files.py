"""What a request gets of a message's files, whatever framework it came through."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from opencode_sessions.files.errors import FileError
from opencode_sessions.files.message_files import MessageFile
from opencode_sessions.frontends.display_json import plain
from opencode_sessions.host import AsyncHost, Refused
from opencode_sessions.host.files import (
    NO_FILE,
    FileService,
    ServedFile,
    served_tool_file,
    told,
    told_preview,
)
from opencode_sessions.starlette.turns import NOT_STORED
from opencode_sessions.texts import text

__all__ = ["Files"]

_log = logging.getLogger("opencode_sessions.host")


class Files:
    """The files of a host's messages, for requests whose user may see the message.

    Each method raises `Refused` if there is no such file. The path of a request names it: `{file}`.

    Args:
        host: Whose.
    """

    def __init__(self, host: AsyncHost) -> None:
        self._host = host

    async def listed(self, message: Any, request: Request) -> Response:
        """The list as JSON: first what was sent with the message, then what its turn has made."""
        base, key = f"{request.url.path}/", self._key_of(message)
        due = await self._service.are_due(message, key)  # first: else they could be collected between the two
        files = [told(file, base) for file in await self._service.list(message, key)]
        archive = f"{request.url.path}.zip"
        return JSONResponse({"files": files, "due": due, "archive": archive}, headers=NOT_STORED)

    async def download(self, message: Any, request: Request) -> Response:
        """A file, or a part of it."""

        async def serve(file: MessageFile) -> Response:
            head = request.method == "HEAD"
            return _response(await self._service.serve(file, request.headers, head=head))

        return await self._of(message, request, serve)

    async def preview(self, message: Any, request: Request) -> Response:
        """What is shown of a file, as JSON."""
        picture = f"{request.url.path.removesuffix('/preview')}/picture"

        async def show(file: MessageFile) -> Response:
            shown = told_preview(await self._service.preview(file), picture)
            return JSONResponse(shown, headers=NOT_STORED)

        return await self._of(message, request, show)

    async def picture(self, message: Any, request: Request) -> Response:
        """A picture of a file, drawn anew."""

        async def draw(file: MessageFile) -> Response:
            return _response(await self._service.picture(file, request.headers))

        return await self._of(message, request, draw)

    async def changes(self, message: Any, request: Request) -> Response:
        """What has changed since the version before, as JSON: a detail of the type `diff`."""

        async def compare(file: MessageFile) -> Response:
            return JSONResponse(plain(await self._service.changes(file)), headers=NOT_STORED)

        return await self._of(message, request, compare)

    async def archive(self, message: Any, _request: Request) -> Response:
        """All files that the agent has made, as one zip."""
        return _response(await self._service.all(message, self._key_of(message)))

    async def of_tool(self, message: Any, request: Request) -> Response:
        """A picture or a file that a tool returned; its path names it: `{told}/{attachment}`."""
        names = request.path_params["told"], request.path_params["attachment"]
        wire = self._host.session_for(message).wire(self._host.servers)
        return _response(await served_tool_file(message, *names, wire.message))

    @property
    def _service(self) -> FileService:
        return self._host.files

    async def _of(
        self, message: Any, request: Request, act: Callable[[MessageFile], Awaitable[Response]]
    ) -> Response:
        key = self._key_of(message)
        try:
            return await act(await self._service.find(message, key, request.path_params["file"]))
        except FileError as error:
            _log.warning("a file of %s: %s", key, error)
            raise Refused(404, text(NO_FILE)) from error

    def _key_of(self, message: Any) -> str:
        table = self._host.table
        return table.store(table.job_of(message), message).key


def _response(served: ServedFile) -> Response:
    headers = dict(served.headers)
    if isinstance(served.content, bytes):
        return Response(served.content, served.status, headers)
    return StreamingResponse(served.content, served.status, headers)
