"""What the benches share: a host's table, a transport that counts, a clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx2
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from opencode_sessions.sqlalchemy import RecordMixin


class Base(DeclarativeBase):
    pass


class Conversation(RecordMixin, Base):
    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="bench")


class Counting(httpx2.HTTPTransport):
    """Up to a hundred connections, and the number of requests that they carried."""

    requests = 0

    def __init__(self) -> None:
        super().__init__(limits=httpx2.Limits(max_connections=100))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        return super().handle_request(request)


def timed(call: Callable[..., object], *arguments: object) -> float:
    """In seconds."""
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began
