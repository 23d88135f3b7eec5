"""Asks and answers: the permissions and questions for which an agent waits, and what a person replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from opencode_sessions.errors import AskAnsweredError, ConfigurationError, NotFoundError
from opencode_sessions.protocol.events import PermissionAsked, QuestionAsked
from opencode_sessions.protocol.plain import whole
from opencode_sessions.protocol.storable import storable
from opencode_sessions.turns.ports import AskWire
from opencode_sessions.validation import require

__all__ = ["IN_THE_ROW", "Answer", "Ask", "AskHandler", "InTheRow", "send_answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A permission that the agent needs, or a question that it asks.

    Attributes:
        id: The server's id of the ask; an answer names it.
        kind: `permission` or `question`.
        session_id: The session that asks: the turn's own, or a sub-agent's.
        permission: The action that needs permission, such as `bash`. `patterns` names what the action would touch.
        metadata: Details from the tool, such as a diff.
        always: The patterns that the answer `always` would allow from then on.
        questions: In the server's form: `question`, `header`, `options` (of `label` and `description`), `multiple`.
        call_id: The tool call that waits.
        asked_at: When the ask was first seen, in ISO 8601.
    """

    id: str
    kind: Literal["permission", "question"]
    session_id: str
    permission: str = ""
    patterns: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    always: Sequence[str] = ()
    questions: Sequence[Mapping[str, Any]] = ()
    call_id: str | None = None
    asked_at: str = ""

    @property
    def age(self) -> float:
        """Seconds since the ask was first seen."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.asked_at)).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """For a row."""
        made: dict[str, Any] = storable(asdict(self))
        return made

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ask:
        """The ask that `to_json` wrote."""
        return cls(**value)

    @classmethod
    def of(cls, event: PermissionAsked | QuestionAsked) -> Ask:
        """The ask of an event."""
        common = {
            "id": event.request_id,
            "session_id": event.session_id or "",
            "call_id": event.call_id,
            "asked_at": datetime.now(UTC).isoformat(),
        }
        if isinstance(event, PermissionAsked):
            names = ("permission", "patterns", "always")
            asked = {name: getattr(event, name) for name in names} | {"metadata": whole(event.metadata)}
            return cls(kind="permission", **asked, **common)  # type: ignore[arg-type]  # a dict of several types
        questions = tuple(whole(question) for question in event.questions)
        return cls(kind="question", questions=questions, **common)  # type: ignore[arg-type]  # likewise


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an ask: see the class methods.

    Attributes:
        shown: The digest of what the person saw (`display_ask(…).shown`). `Turn.answer` refuses the answer if the ask
            in the row has another digest. If `shown` is empty, nothing is compared.
    """

    reply: Literal["once", "always", "reject"]
    labels: Sequence[Sequence[str]] = ()
    message: str | None = None
    shown: str = ""

    @classmethod
    def once(cls) -> Answer:
        """Allow the action this time."""
        return cls("once")

    @classmethod
    def always(cls) -> Answer:
        """Allow the action now, and later actions that match `Ask.always` without asking.

        The permission lasts while the server runs; on the 2.x line it is stored for the project. It holds for all
        agents in the same directory, whichever record they belong to, and overrides their sessions' `deny` rules
        (1.18.33).
        """
        return cls("always")

    @classmethod
    def reject(cls, message: str | None = None) -> Answer:
        """Refuse. With a message the agent reads it and goes on; without one the agent stops."""
        return cls("reject", message=message)

    @classmethod
    def choose(cls, *labels: Sequence[str]) -> Answer:
        """Answer a question ask.

        Args:
            labels: One list for each of its questions: the chosen labels, or one text of the person's own.

        Raises:
            ConfigurationError: No list is given, or one of them is not a list of texts.
        """
        if not labels:
            raise ConfigurationError(
                "Answer.choose() needs a list of labels for each question of the ask; a permission has none, and is "
                "answered with Answer.once(), always() or reject()"
            )
        for each in labels:
            if not _is_list_of_texts(each):
                raise ConfigurationError(
                    f"Answer.choose() needs a list of labels for each question of the ask, not {each!r}: write "
                    'Answer.choose(["Apple"]), or Answer.choose(["Apple"], ["Red", "Green"]) for two questions'
                )
        return cls("once", labels=labels)


def _is_list_of_texts(labels: object) -> bool:
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        return False
    return all(isinstance(label, str) for label in labels)


AskHandler = Callable[[Ask], Answer | Awaitable[Answer | None] | None]
"""A function that answers an ask; None leaves the ask in the row. The function may wait for a person.

An ordinary function is called in a thread of its own, also with asyncio. A coroutine function is awaited in a task of
its own. The task is cancelled when another process answers the ask, when the deadline passes, or when the turn ends. A
thread cannot be cancelled; a late answer from it is ignored."""


class InTheRow:
    """The type of `IN_THE_ROW`."""

    def __repr__(self) -> str:
        return "IN_THE_ROW"


IN_THE_ROW: Final = InTheRow()
"""As `on_ask`: asks wait in the row for `Turn.answer`."""


async def send_answer(wire: AskWire, ask: Ask, answer: Answer) -> None:
    """Send the answer to the server.

    Raises:
        AskAnsweredError: The ask was answered already, or its session was stopped.
        ConfigurationError: This is not an answer, or it does not fit this kind of ask.
    """
    require(isinstance(answer, Answer), "an ask is answered with an Answer, such as Answer.once()", answer)
    if ask.kind == "permission" and answer.labels:
        raise ConfigurationError(
            f"ask {ask.id} is no question but a permission ({ask.permission}), and labels do not say whether the agent "
            "may: answer it with Answer.once(), always() or reject()"
        )
    try:
        if ask.kind == "permission":
            await wire.answer_permission(ask.session_id, ask.id, answer.reply, message=answer.message)
        elif answer.reply != "reject":
            await wire.answer_question(ask.id, _labels(ask, answer), session_id=ask.session_id)
        elif answer.message is None or not ask.questions:
            await wire.reject_question(ask.id, session_id=ask.session_id)
        else:
            # The rejection of a question carries no message and stops the agent, so send the text as an answer
            # (1.18.33).
            said = [[answer.message]] * len(ask.questions)
            await wire.answer_question(ask.id, said, session_id=ask.session_id)
    except NotFoundError as error:
        raise AskAnsweredError(
            f"ask {ask.id} waits no more: it was answered already, or its session was stopped", ask_id=ask.id
        ) from error


def _labels(ask: Ask, answer: Answer) -> Sequence[Sequence[str]]:
    if len(answer.labels) == len(ask.questions):
        return answer.labels
    raise ConfigurationError(
        f"ask {ask.id} has {len(ask.questions)} questions, and Answer.choose() was given {len(answer.labels)} lists of "
        "labels"
    )
