"""Files on the server's machine, read by the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from opencode_sessions.wire.requester import Calls

__all__ = ["FileCalls"]


class FileCalls(Calls):
    """The calls about files."""

    async def list_files(self, path: str = "", *, directory: str | None = None) -> Mapping[str, str]:
        """The entries of a folder in a directory on the server's machine: `file` or `directory`, by name.

        Links are left out (1.18.33).

        Raises:
            ServerError: There is no such folder in the directory.
        """
        return await self._asked(lambda line: line.list_files(directory or self.directory, path))

    async def read_file(self, path: str, *, directory: str | None = None) -> AsyncIterator[bytes]:
        """The bytes of a file in a directory on the server's machine, in pieces.

        The server follows links that stay in the directory (1.18.33); `list_files` leaves links out.

        Raises:
            ServerError: There is no such file in the directory.
        """
        async with self._transport.stream(self._line.read_file(directory or self.directory, path)) as pieces:
            async for piece in pieces:
                yield piece
