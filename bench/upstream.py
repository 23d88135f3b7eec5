"""What came over the wire: bytes and requests, by route."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import httpx2

from bench.host import Counting

EVENTS = "GET /global/event"

_ID = re.compile(r"(ses|msg)_\w+")


class Upstream(Counting):
    """A transport that counts.

    Attributes:
        asked: How often each route was.
        read: The bytes of what each answered, as they came: compressed, where the server did that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.read: Counter[str] = Counter()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        route = f"{request.method} {_ID.sub('…', request.url.path)}"
        self.asked[route] += 1
        response = super().handle_request(request)
        response.stream = _Counted(response.stream, self.read, route)  # type: ignore[arg-type]
        return response

    def clear(self) -> None:
        """Count from now on."""
        self.asked.clear()
        self.read.clear()


class _Counted(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, read: Counter[str], route: str) -> None:
        self._stream = stream
        self._read = read
        self._route = route

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._read[self._route] += len(chunk)
            yield chunk

    def close(self) -> None:
        self._stream.close()
