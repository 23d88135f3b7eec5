"""Whom a frame concerns, told from its first bytes, so that nobody parses what nobody here listens to."""

from __future__ import annotations

import re

__all__ = ["session_of"]

_HEAD = re.compile(
    rb'\{(?:"[A-Za-z]++":"[^"\\]*+",)*+'
    rb'"payload":\{"id":"\w++","type":"([\w.]++)","properties":\{"sessionID":"(\w++)"[,}]'
)

_FAMILY = frozenset({b"session.created", b"session.updated", b"session.deleted"})
"""They tell whose child a session is, which must be known before anybody can say who listens to it."""


def session_of(data: bytes) -> str | None:
    """The session that a frame concerns and whose listeners alone it can interest; None if it must be parsed to tell.

    The frame is read from its first byte, key by key, as 1.18.33 writes it: a head of any other shape (other keys,
    another order, spaces, an escape) is None, never a guess.
    """
    head = _HEAD.match(data)
    if head is None or head[1] in _FAMILY:
        return None
    return head[2].decode()
