"""What a request does to a turn, whatever framework it came through."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args, get_type_hints

from starlette.requests import Request
from starlette.responses import StreamingResponse

from opencode_sessions.display import Given
from opencode_sessions.errors import ConfigurationError, OpencodeError
from opencode_sessions.frontends.display_json import JSON, plain
from opencode_sessions.host import AsyncHost, Refused
from opencode_sessions.host.chats import name_of
from opencode_sessions.host.steering import NO_TURN, nobody, refusal_of, too_late
from opencode_sessions.live.encoder import Encoder
from opencode_sessions.live.streams import astream
from opencode_sessions.live.view import RenderContext
from opencode_sessions.live.watch_request import Made, WatchRequest
from opencode_sessions.runtime.stepping import result_of
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import RowKey, TurnRow
from opencode_sessions.texts import accepted, language, speaking, text
from opencode_sessions.turns.asks import Answer

__all__ = [
    "NOT_STORED",
    "AnswerGiven",
    "MaySee",
    "Turns",
    "read_answer",
    "read_body",
    "read_json",
    "refusing",
    "speaking_to",
]

MaySee = Callable[[Any, Any], bool | Awaitable[bool]]
"""Of the user and a message: may this user see its turn, and steer it?"""

NOT_STORED = {"Cache-Control": "no-store"}

_HEADERS = {
    **NOT_STORED,
    "X-Accel-Buffering": "no",  # nginx would keep the events until it has some kilobytes of them
    "Content-Encoding": "identity",  # so would what compresses: GZipMiddleware leaves this alone
}

MOST_BYTES = 64 * 1024
"""Of the body of a request: an answer is short."""

_log = logging.getLogger("opencode_sessions.host")

_LONGEST_REVISION = 20


@dataclass(frozen=True, slots=True)
class AnswerGiven:
    """What a person answers.

    Attributes:
        ask: The id of what is answered.
        reply: `once` or `always` allows what is asked, or answers a question with `labels`; `reject` refuses it.
        labels: Of each question, what was chosen.
        message: With `reject`: a word to the agent, which then goes on and minds it.
        shown: The digest of what the person saw, as the ask's `shown` says; a `reject` needs none.
    """

    ask: str
    reply: Literal["once", "always", "reject"]
    labels: Sequence[Sequence[str]] = ()
    message: str | None = None
    shown: str = ""


async def read_body(chunks: AsyncIterator[bytes], most: int = MOST_BYTES) -> bytes:
    """The body of a request.

    Args:
        chunks: As it comes.
        most: How many bytes it may have.

    Raises:
        Refused: It has more.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise Refused(413, f"The body may have {most // 1024} KiB at most.")
    return bytes(body)


def read_json(body: bytes) -> Any:
    """The JSON of a request.

    Raises:
        Refused: It is not JSON, or it has NaN, Infinity or half a character: a response could not repeat these.
    """
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The body must be JSON.") from error
    return found


def read_answer(body: bytes) -> AnswerGiven:
    """What a request's JSON says.

    Raises:
        Refused: It is no answer.
    """
    given = read_json(body)
    fields = given if isinstance(given, dict) else {}
    labels, replies = fields.get("labels", []), get_args(get_type_hints(AnswerGiven)["reply"])
    message = fields.get("message")
    texts = (fields.get("ask"), fields.get("shown", ""), "" if message is None else message)
    fits = (
        fields.get("reply") in replies
        and all(isinstance(text, str) for text in texts)
        and isinstance(labels, list)
        and all(isinstance(chosen, list) for chosen in labels)
        and all(isinstance(label, str) for chosen in labels for label in chosen)
    )
    if not fits:
        raise Refused(
            400,
            'The body must be like {"ask": "per_…", "reply": "once", "shown": "…"}, with one of '
            f"{', '.join(replies)} as reply, and with labels, a list of texts for each question, if it answers one.",
        )
    return AnswerGiven(fields["ask"], fields["reply"], labels, message, fields.get("shown", ""))


def speaking_to(host: AsyncHost, request: Request) -> AbstractContextManager[object]:
    """Inside, texts are in the language of a request; so are the streams that begin there."""
    says = host.settings.language
    return speaking(accepted(says(request) if says else request.headers.get("accept-language", "")))


class Turns:
    """The turns of a host, for requests.

    Args:
        host: Whose.
        may_see: Who may see and steer a turn.
        seconds: How long a stream lasts before the browser connects again, and its user is asked for again.
    """

    def __init__(self, host: AsyncHost, may_see: MaySee, seconds: float) -> None:
        self._host = host
        self._may_see = may_see
        if may_see is nobody:
            _log.warning(
                "nobody may see a turn: give the routes may_see=, a function of the user and a message"
            )
        self._seconds = seconds

    async def message(self, user: Any, table: str, pk: str) -> Any:
        """The message that an address names, if this user may see it.

        Raises:
            Refused: There is none, or not for this user.
        """
        try:
            found = await self._host.table.named(table).load(pk)
        except ConfigurationError:
            found = None
        if found is None or not await result_of(self._may_see(user, found)):
            raise Refused(404, text(NO_TURN))
        return found

    def events(
        self,
        message: Any,
        headers: Mapping[str, str],
        after: str = "",
        who: Hashable = None,
        *,
        files: str = "",
    ) -> StreamingResponse:
        """The events of a turn, from what the browser has until the turn's end; for `files` see `display`."""
        key, has = self._host.table.key_of(message), _revision(headers.get("last-event-id") or after)
        context = RenderContext(files=files, turn=name_of(key), language=language())
        return self.stream(key, TurnRow.of(message), context, encoder=JSON, has=has, who=who)

    def stream(
        self,
        key: RowKey,
        row: TurnRow,
        context: RenderContext,
        *,
        encoder: Encoder,
        headers: Mapping[str, str] = _HEADERS,
        has: int | None = None,
        who: Hashable = None,
        answered: AbstractSet[str] = frozenset(),
        made: Made | None = None,
    ) -> StreamingResponse:
        """A turn as an encoder tells it; for the arguments see `WatchRequest`."""
        request = WatchRequest(
            key=key,
            row=row,
            context=context,
            encoder=encoder,
            has=has,
            who=who,
            seconds=self._seconds,
            answered=answered,
            made=made,
        )
        content = astream(self._host.live, request)
        return StreamingResponse(content, media_type=encoder.content_type, headers={**_HEADERS, **headers})

    async def asked(self, message: Any, ask_id: str) -> dict[str, Any]:
        """An ask as the events have it, but with nothing left out.

        Raises:
            Refused: It does not wait for an answer any more.
        """
        shown: dict[str, Any] = plain(await refusing(self._host.asked(message, ask_id)))
        return shown

    async def answer(self, message: Any, given: AnswerGiven | Given) -> None:
        """Answer what the agent asks.

        Raises:
            Refused: It cannot be done.
        """
        await refusing(self.give(message, given))

    async def give(self, message: Any, given: AnswerGiven | Given) -> None:
        """Answer an ask.

        Raises:
            Refused: This host does not accept such an answer.
            OpencodeError: As `Turn.answer`.
        """
        if given.reply != "reject" and not given.shown:
            raise Refused(
                400, "Say in `shown` what was shown (`shown` of the ask): nobody can agree to what is not."
            )
        labels = tuple(tuple(chosen) for chosen in given.labels)
        try:
            "".join([given.message or "", *chain(*labels)]).encode()
        except UnicodeEncodeError as error:  # JSON can say half of one, which nobody can store or send
            raise Refused(400, "The message, or a label, has half a character.") from error
        answer = Answer(given.reply, labels, given.message, shown=given.shown)
        await self._host.answer(message, given.ask, answer)

    async def cancel(self, message: Any, by: str) -> None:
        """End the turn, wherever it runs. One that is cancelled already is left so.

        Raises:
            Refused: It has ended otherwise.
        """
        if await refusing(self._host.cancel(message, by=by)):
            return
        row = await self._host.table.row(self._host.table.key_of(message))
        if row is None:
            raise Refused(404, text(NO_TURN))
        if row.status != TurnStatus.CANCELLED:
            raise too_late(row.status)

    async def retry(self, message: Any) -> tuple[str, str]:
        """Ask again what failed or was cancelled. The new message's table and primary key.

        Raises:
            Refused: It did not fail, and was not cancelled.
        """
        key = self._host.table.key_of(await refusing(self._host.retry(message)))
        return key.table, key.pk


async def refusing(doing: Awaitable[Any]) -> Any:
    """The result of what is done to a turn.

    Raises:
        Refused: It cannot be done.
    """
    try:
        return await doing
    except OpencodeError as error:
        raise refusal_of(error) from error


def _revision(given: str) -> int | None:
    fits = given.isascii() and given.isdecimal() and len(given) < _LONGEST_REVISION
    return int(given) if fits else None
