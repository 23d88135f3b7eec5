"""What front ends of chat protocols do to a host's chats: send a prompt, answer what is asked, go on after a reload.

Such a front end names a chat, and sends what it believes was said in it. The rows decide: of what it sends, only the
last message counts, and what it says of a turn must be about the newest one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from opencode_sessions.display import Given
from opencode_sessions.host.steering import Refused
from opencode_sessions.live.encoder import Encoder
from opencode_sessions.live.view import TurnView
from opencode_sessions.runtime.stepping import result_of
from opencode_sessions.store.turn_table import RowKey

__all__ = [
    "CHAT_SECONDS",
    "MOST_BYTES",
    "NO_CHAT",
    "ChatProtocol",
    "ChatRequest",
    "Chats",
    "Refusal",
    "Steering",
    "Turn",
    "json_object",
    "name_of",
    "newest_turn",
    "text_of",
    "turn_of",
]

MOST_BYTES = 1024 * 1024
"""Of the body of a request: a front end may send all that was said."""

CHAT_SECONDS = 600.0
"""How long a stream lasts at most: front ends of chat protocols do not connect again by themselves."""

NO_CHAT = "There is no such chat, or not for you."
OTHER_TURN = "This is about another turn than the chat's newest one. Load the chat again."


class Chats(Protocol):
    """The chats of a host. Where the host suspends, both may be `async def`.

    The user is what a route has as its user: with Django, the request.
    """

    def turns(
        self, user: Any, chat: str, last: int | None, /
    ) -> Sequence[Any] | Awaitable[Sequence[Any] | None] | None:
        """The messages of a chat, oldest first, fresh from their rows.

        Args:
            user: Who asks.
            chat: What the front end calls the chat.
            last: Only so many, the newest ones; None: all.

        Returns:
            None if there is no such chat, or not for this user.
        """

    def send(self, user: Any, chat: str, prompt: str, /) -> Any | Awaitable[Any | None] | None:
        """Store a prompt in a chat, and enqueue its turn.

        Returns:
            The message, committed; None as of `turns`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a front end wants.

    Attributes:
        chat: Which chat.
        run: What it calls this request.
        prompt: It asks this; None: nothing.
        answers: It answers these asks of a turn.
        turn: That turn; empty: the newest one.
        retry: The newest turn is to be asked again.
    """

    chat: str
    run: str = ""
    prompt: str | None = None
    answers: tuple[Given, ...] = ()
    turn: str = ""
    retry: bool = False


class Refusal(NamedTuple):
    """A response that says what is wrong, in the protocol's own form."""

    status: int
    content_type: str
    body: bytes


class ChatProtocol(Protocol):
    """A protocol of chats.

    Attributes:
        encoder: How a turn is told.
        headers: Of each stream.
    """

    @property
    def encoder(self) -> Encoder:
        """See above."""

    @property
    def headers(self) -> Mapping[str, str]:
        """See above."""

    def read(self, body: bytes, headers: Mapping[str, str], chat: str | None) -> ChatRequest:
        """What a request says; `chat` is the one of its address, if that names one.

        Raises:
            Refused: It cannot be understood, or asks for what there is not.
        """

    def refusal(self, refused: Refused, request: ChatRequest | None) -> Refusal:
        """The response that refuses a request."""

    def told(self, name: str, prompt: str, view: TurnView) -> list[dict[str, Any]]:
        """The messages of one turn, as a front end keeps them."""


class Steering(Protocol):
    """What is done to turns, whatever the framework."""

    def key_of(self, message: Any, /) -> RowKey:
        """What names its row."""

    async def answer(self, message: Any, given: Given, /) -> None:
        """Answer an ask."""

    async def retry(self, message: Any, /) -> Any:
        """Ask again what failed or was cancelled."""


class Turn(NamedTuple):
    """The turn that a front end is told of, and the asks of it that were just answered."""

    message: Any
    answered: frozenset[str] = frozenset()


def name_of(key: RowKey) -> str:
    """What a turn is called in a chat."""
    return f"{key.table}-{key.pk}"


async def newest_turn(chats: Chats, user: Any, chat: str) -> Any | None:
    """The newest message of a chat; None if there is none yet.

    Raises:
        Refused: There is no such chat.
    """
    turns = await result_of(chats.turns(user, chat, 1))
    if turns is None:
        raise Refused(404, NO_CHAT)
    return turns[-1] if turns else None


async def turn_of(request: ChatRequest, user: Any, chats: Chats, steering: Steering) -> Turn:
    """Do what a front end wants. The turn that it is told of then.

    Raises:
        Refused: It cannot be done.
    """
    if request.prompt is not None:
        message = await result_of(chats.send(user, request.chat, request.prompt))
        if message is None:
            raise Refused(404, NO_CHAT)
        return Turn(message)
    message = await newest_turn(chats, user, request.chat)
    if message is None or request.turn not in ("", name_of(steering.key_of(message))):
        raise Refused(409, OTHER_TURN)
    if request.retry:
        return Turn(await steering.retry(message))
    for given in request.answers:
        await steering.answer(message, given)
    return Turn(message, frozenset(given.ask for given in request.answers))


def json_object(body: bytes) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
        Refused: It is none.
    """
    try:
        found = json.loads(body)
        # Half a character is none that could be stored or sent.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The body must be JSON.") from error
    if not isinstance(found, dict):
        raise Refused(400, "The body must be a JSON object.")
    return found


def text_of(value: Any, name: str) -> str:
    """A text that must be there.

    Raises:
        Refused: It is not.
    """
    if not isinstance(value, str) or not value:
        raise Refused(400, f"The body must have a text `{name}`.")
    return value
