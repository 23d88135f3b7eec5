"""The requests of chat front ends to a host's chats: send a prompt, answer an ask, go on after a reload.

Such a front end names a chat, and sends the messages that it knows. The rows decide: only the last message of the
request counts, and answers must be for the newest turn.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from opencode_sessions.display import Given
from opencode_sessions.errors import AskAnsweredError
from opencode_sessions.files.message_files import MessageFile
from opencode_sessions.files.uploads import Uploads
from opencode_sessions.host.chat_bodies import MOST_BYTES
from opencode_sessions.host.files import told as told_file
from opencode_sessions.host.sent_files import SentFile
from opencode_sessions.host.steering import Refused
from opencode_sessions.live.encoder import Encoder
from opencode_sessions.live.view import RenderContext, TurnView, view_of_row
from opencode_sessions.runtime.stepping import result_of
from opencode_sessions.store.turn_table import RowKey, TurnRow
from opencode_sessions.texts import later, text

__all__ = [
    "CHAT_SECONDS",
    "NO_CHAT",
    "ChatProtocol",
    "ChatRequest",
    "ChatService",
    "Chats",
    "Json",
    "Refusal",
    "Steering",
    "Turn",
    "name_of",
]

T = TypeVar("T")
Json = Mapping[str, Any]

CHAT_SECONDS = 600.0
"""The longest time of a stream, in seconds: front ends of chat protocols do not reconnect by themselves."""

_NUL = "\0"

_DELIVERED = ("once", "always", "reject")
"""The order in which answers are delivered, by their reply."""

NO_CHAT = later("There is no such chat, or not for you.")
OTHER_TURN = later("This is about another turn than the chat's newest one. Load the chat again.")


class Chats(Protocol):
    """The chats of a host. With an `AsyncHost`, both may be `async def`.

    The user is that of the route; with Django, it is the request.

    A front end may send a prompt twice. To prompt only once, give `send` the keyword `message_id: str | None = None`,
    for the front end's id of the message. None means that it has no id of at most 255 characters.
    """

    def turns(
        self, user: Any, chat: str, last: int | None, /
    ) -> Sequence[Any] | Awaitable[Sequence[Any] | None] | None:
        """The messages of a chat, oldest first, fresh from their rows.

        Args:
            user: The user.
            chat: The front end's name of the chat.
            last: How many messages, counted from the newest; None: all.

        Returns:
            None if there is no such chat, or this user may not see it.
        """

    def send(
        self, user: Any, chat: str, prompt: str, files: Sequence[tuple[str, BinaryIO]] = (), /
    ) -> Any | Awaitable[Any | None] | None:
        """Store a prompt in a chat, and enqueue its turn.

        Args:
            user: Who asks.
            chat: What the front end calls the chat.
            prompt: What is asked.
            files: Those that were sent with it, for `Uploads.save`. They are given only if there are some, so a host
                without `uploads` in its settings can leave the argument out. They are decoded as they are read, so
                first decide whether the user may see the chat.

        Returns:
            The committed message; None as for `turns`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request of a front end.

    Attributes:
        chat: Which chat.
        run: What it calls this request.
        prompt: It asks this; None: nothing.
        message_id: The front end's id of the message with the prompt.
        files: They come with the prompt.
        answers: It answers these asks of a turn.
        turn: That turn; empty: the newest one.
        retry: The newest turn is to be asked again.
        strict: Nothing else can be wanted while the newest turn waits for answers, and all are to be given at once.
    """

    chat: str
    run: str = ""
    prompt: str | None = None
    message_id: str | None = None
    files: tuple[SentFile, ...] = ()
    answers: tuple[Given, ...] = ()
    turn: str = ""
    retry: bool = False
    strict: bool = False


class Refusal(NamedTuple):
    """A response with an error, in the protocol's own form."""

    status: int
    content_type: str
    body: bytes


class ChatProtocol(Protocol):
    """A protocol of chats.

    Attributes:
        encoder: The encoder of its streams.
        headers: The headers of each stream.
        retells: Whether a stream begins with all messages of the chat.
    """

    @property
    def encoder(self) -> Encoder:
        """See above."""

    @property
    def headers(self) -> Mapping[str, str]:
        """See above."""

    @property
    def retells(self) -> bool:
        """See above."""

    def read(self, body: bytes, headers: Mapping[str, str], chat: str | None) -> ChatRequest:
        """Read a request; `chat` is the chat in its address, if there is one.

        Raises:
            Refused: The request is invalid, or names something that does not exist.
        """

    def refusal(self, refused: Refused) -> Refusal:
        """The response that refuses a request."""

    def told(
        self, name: str, prompt: str, view: TurnView, sent: Sequence[Json], made: Sequence[Json], /
    ) -> list[dict[str, Any]]:
        """The messages of one turn, as a front end keeps them.

        Args:
            name: The name of the turn.
            prompt: The prompt.
            view: The turn, rendered for the protocol.
            sent: The files that came with the prompt, as `opencode_sessions.host.files.told` has them.
            made: Those that the turn has made.
        """


class Steering(Protocol):
    """Actions on turns, for any framework."""

    def key_of(self, message: Any, /) -> RowKey:
        """The key of its row."""

    async def answer(self, message: Any, given: Given, /) -> None:
        """Answer an ask.

        Raises:
            AskAnsweredError: The ask no longer waits for an answer.
            Refused: This host does not accept such an answer.
        """

    async def retry(self, message: Any, /) -> Any:
        """Retry a turn that failed or was cancelled."""

    def context_of(self, message: Any, /) -> RenderContext:
        """The values for rendering that its row does not have."""

    async def files_of(self, message: Any, /) -> Sequence[MessageFile]:
        """The files that were sent with it, and those that its turn has made so far."""

    async def are_due(self, message: Any, /) -> bool:
        """Are files of its turn still to be collected?"""

    async def render(self, rendering: Callable[[], T], /) -> T:
        """The result of a call that may take seconds. It must not stop an event loop."""


class _Stored(NamedTuple):
    """What is stored of a turn, and how it is rendered."""

    row: TurnRow
    prompt: str
    context: RenderContext
    files: Sequence[MessageFile]


class Turn(NamedTuple):
    """The turn that a front end watches, and its asks that were just answered."""

    message: Any
    answered: frozenset[str] = frozenset()


def name_of(key: RowKey) -> str:
    """The name of a turn in a chat."""
    return f"{key.table}-{key.pk}"


class ChatService:
    """What front ends of one protocol do to a host's chats.

    Args:
        protocol: Which one.
        chats: The host's.
        steering: How turns are steered.
        uploads: What is taken of files; None: none.
    """

    def __init__(
        self, protocol: ChatProtocol, chats: Chats, steering: Steering, uploads: Uploads | None
    ) -> None:
        self.protocol = protocol
        self._chats = chats
        self._steering = steering
        self._uploads = uploads

    @property
    def most_bytes(self) -> int:
        """Of the body of a request."""
        return MOST_BYTES + (self._uploads.limits.inline * 4 // 3 if self._uploads is not None else 0)

    async def newest(self, user: Any, chat: str) -> Any | None:
        """The newest message of a chat; None if there is none yet.

        Raises:
            Refused: There is no such chat.
        """
        turns = await self._turns(user, chat, 1)
        return turns[-1] if turns else None

    async def turn(self, request: ChatRequest, user: Any) -> Turn:
        """Carry out a request, and return the turn that the front end watches afterwards.

        Raises:
            Refused: The request cannot be carried out.
            OpencodeError: As `Turn.answer`.
        """
        asks = request.prompt is not None
        newest = None if asks and not request.strict else await self.newest(user, request.chat)
        if request.strict:
            _check_all_answered(request, newest)
        if request.prompt is not None:
            files = self._contents(request.files)
            if not request.prompt.strip():
                raise Refused(400, "The message has no text.")
            if _NUL in request.prompt:
                raise Refused(
                    400, "The message has the character U+0000, which no database stores: leave it out."
                )
            _check_name(request.chat)
            send: Callable[..., Any] = self._chats.send
            named = {"message_id": request.message_id} if "message_id" in signature(send).parameters else {}
            sent = send(user, request.chat, request.prompt, *([files] if files else []), **named)
            message = await result_of(sent)
            if message is None:
                raise Refused(404, text(NO_CHAT))
            return Turn(message)
        if newest is None or request.turn not in ("", self._name(newest)):
            raise Refused(409, text(OTHER_TURN))
        if request.retry:
            return Turn(await self._steering.retry(newest))
        await self._answer(newest, request.answers)
        return Turn(newest, frozenset(given.ask for given in request.answers))

    async def context(self, request: ChatRequest, user: Any, message: Any) -> RenderContext:
        """The values for rendering that the row of a turn does not have.

        Raises:
            Refused: There is no such chat.
        """
        said = ""
        if self.protocol.retells:
            before = []
            for each in await self._turns(user, request.chat, None):
                before.append(await self._stored(each))
                if self._steering.key_of(each) == self._steering.key_of(message):
                    break
            said = await self._steering.render(partial(self._history, before, self._name(message)))
        known, name = self._steering.context_of(message), self._name(message)
        return replace(known, turn=name, thread=request.chat, run=request.run, history=said)

    async def messages(self, user: Any, chat: str) -> list[dict[str, Any]]:
        """All that was said in a chat, as its front end keeps it.

        Raises:
            Refused: There is no such chat.
        """
        turns = [await self._stored(message) for message in await self._turns(user, chat, None)]
        return await self._steering.render(lambda: [told for stored in turns for told in self._told(stored)])

    async def _stored(self, message: Any) -> _Stored:
        context = replace(self._steering.context_of(message), turn=self._name(message))
        return _Stored(TurnRow.of(message), message.prompt, context, await self._steering.files_of(message))

    def _told(self, stored: _Stored) -> list[dict[str, Any]]:
        """The messages of one turn."""
        row, prompt, context, files = stored
        view = view_of_row(row, None, context, frozenset([self.protocol.encoder]))
        sent = [told_file(file, context.files) for file in files if file.is_upload]
        made = [told_file(file, context.files) for file in files if not file.is_upload]
        return self.protocol.told(context.turn, prompt, view, sent, made)

    def _history(self, turns: Sequence[_Stored], newest: str) -> str:
        """All messages of these turns, as JSON; of the newest turn only the prompt."""
        said = []
        for stored in turns:
            told = self._told(stored)
            said += told[:1] if stored.context.turn == newest else told
        return ", ".join(json.dumps(each, ensure_ascii=False) for each in said)

    async def made(self, message: Any) -> list[dict[str, Any]] | None:
        """The files that a turn has made which has ended; None while they are being collected."""
        if await self._steering.are_due(message):  # first: else they could be collected between the two
            return None
        base = self._steering.context_of(message).files
        files = await self._steering.files_of(message)
        return [told_file(file, base) for file in files if not file.is_upload]

    async def _answer(self, message: Any, answers: Sequence[Given]) -> None:
        """Deliver answers to asks of one turn.

        The server rejects all other permissions of a session with one of them, and allows those that an `always`
        covers. So such answers are delivered last, and a later one of the same kind may find its ask settled.
        """
        delivered = set()
        for given in sorted(answers, key=lambda given: _DELIVERED.index(given.reply)):
            try:
                await self._steering.answer(message, given)
            except AskAnsweredError:
                if given.reply == "once" or given.reply not in delivered:
                    raise
            delivered.add(given.reply)

    def _contents(self, files: Sequence[SentFile]) -> list[tuple[str, BinaryIO]]:
        if files and self._uploads is None:
            raise Refused(400, "A prompt can only have text here, and no file.")
        if self._uploads is not None and len(files) > self._uploads.limits.number:
            raise Refused(413, self._uploads.limits.too_many(len(files)))
        return [file.content() for file in files]

    async def _turns(self, user: Any, chat: str, last: int | None) -> Sequence[Any]:
        _check_name(chat)
        turns = await result_of(self._chats.turns(user, chat, last))
        if turns is None:
            raise Refused(404, text(NO_CHAT))
        found: Sequence[Any] = turns
        return found

    def _name(self, message: Any) -> str:
        return name_of(self._steering.key_of(message))


def _check_name(chat: str) -> None:
    """Refuse a name that no chat can have, as a database raises an error if it is asked for one."""
    if _NUL in chat:
        raise Refused(404, text(NO_CHAT))


def _check_all_answered(request: ChatRequest, newest: Any | None) -> None:
    asked = {str(ask.get("id")) for ask in newest.asks} if newest is not None else set()
    left = asked - {given.ask for given in request.answers}
    if left and (request.answers or request.prompt is not None):
        raise Refused(
            409, f"The agent waits for answers to {', '.join(sorted(left))}: give all of them first."
        )
