"""The asks that wait for a person: permissions and questions.

The server lists them by directory, and each names the session that asks. The asks of a sub-agent are found by its
parents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from opencode_sessions.errors import BadRequestError, NotFoundError, SessionNotFoundError, WireError
from opencode_sessions.protocol.events import PermissionAsked, QuestionAsked
from opencode_sessions.protocol.values import SessionInfo
from opencode_sessions.wire.dialect import Call, Dialect
from opencode_sessions.wire.requester import Calls

__all__ = ["AskCalls"]


class AskCalls(Calls):
    """The calls about asks."""

    async def get(self, session_id: str) -> SessionInfo:
        """The session; SessionNotFoundError without one."""
        return await self._asked(lambda line: line.get(session_id))

    async def pending_permissions(self, *, directory: str | None = None) -> Sequence[PermissionAsked]:
        """The permission asks in a directory, by default this client's.

        Raises:
            BadRequestError: The server cannot write the metadata of an ask there as JSON, and refuses the whole list.
                That happens with an ask of `glob` without a path, or of `webfetch` without a timeout (1.18.33). The
                ask's event came nevertheless.
        """
        return await self._asked(lambda line: line.permissions(directory=directory or self.directory))

    async def pending_asks(self, session_id: str) -> Sequence[PermissionAsked | QuestionAsked]:
        """The asks of a session and its sub-agents; BadRequestError as for `pending_permissions`."""
        asks, unlisted = await self._asks_of(session_id)
        if unlisted:
            raise unlisted[0]
        return asks

    async def answer_permission(
        self, session_id: str, request_id: str, reply: str, *, message: str | None = None
    ) -> None:
        """Answer `once`, `always` or `reject`; a rejection may have a message for the agent. NotFoundError if late."""
        directory = None if message is None else (await self.get(session_id)).directory
        await self._ask(
            lambda line: line.answer_permission(
                session_id, request_id, reply, message=message, directory=directory
            )
        )

    async def pending_questions(self, *, directory: str | None = None) -> Sequence[QuestionAsked]:
        """The questions in a directory, by default this client's."""
        return await self._asked(lambda line: line.questions(directory=directory or self.directory))

    async def answer_question(
        self, request_id: str, answers: Iterable[Iterable[str]], *, session_id: str | None = None
    ) -> None:
        """Answer with one list of labels for each question. NotFoundError if late.

        Questions are found in a directory: the session's, if one is given, else this client's.
        """
        directory = await self._directory_of(session_id)
        given = tuple(tuple(labels) for labels in answers)

        async def act(line: Dialect) -> None:
            call = None if session_id is None else line.form(session_id, request_id)
            form = None if call is None else await self._answer(call)
            await self._answer(
                line.answer_question(session_id, request_id, given, form=form, directory=directory)
            )

        await self._speaking(act)

    async def reject_question(self, request_id: str, *, session_id: str | None = None) -> None:
        """Reject a question. NotFoundError if late; the question is found as for `answer_question`."""
        directory = await self._directory_of(session_id)
        await self._ask(lambda line: line.reject_question(session_id, request_id, directory=directory))

    async def _directory_of(self, session_id: str | None) -> str | None:
        return self.directory if session_id is None else (await self.get(session_id)).directory

    async def reject_asks(self, session_id: str) -> Sequence[WireError]:
        """Reject what a session and its sub-agents wait for. One that cannot be rejected does not keep the others.

        Returns:
            Why some of it could not be listed, or not be rejected: none of these is raised.
        """
        asks, unrejected = await self._asks_of(session_id)
        for ask in asks:
            try:
                await self._answer(_rejection(self._line, ask))
            except NotFoundError:
                pass  # answered in between, or rejected together with another ask of its session
            except WireError as error:
                unrejected.append(error)
        return unrejected

    async def _asks_of(
        self, session_id: str
    ) -> tuple[list[PermissionAsked | QuestionAsked], list[WireError]]:
        """The asks of a session and its sub-agents, and the errors of lists that the server refused."""
        try:
            directory = (await self.get(session_id)).directory
        except SessionNotFoundError:
            return [], []
        unlisted: list[WireError] = []
        asks: list[PermissionAsked | QuestionAsked] = []
        for pending in (self.pending_permissions, self.pending_questions):
            try:
                asks += await pending(directory=directory)
            except BadRequestError as error:
                unlisted.append(error)
        family = _Family(self, session_id)
        return [
            replace(ask, directory=directory) for ask in asks if await family.has(ask.session_id)
        ], unlisted


def _rejection(line: Dialect, ask: PermissionAsked | QuestionAsked) -> Call[Any]:
    session_id, directory = ask.session_id or "", ask.directory
    if isinstance(ask, QuestionAsked):
        return line.reject_question(session_id, ask.request_id, directory=directory)
    return line.answer_permission(session_id, ask.request_id, "reject", message=None, directory=directory)


class _Family:
    """Tells whether sessions descend from one session, and remembers the answers."""

    def __init__(self, wire: AskCalls, session_id: str) -> None:
        self._wire = wire
        self._known: dict[str | None, bool] = {session_id: True, None: False}

    async def has(self, session_id: str | None) -> bool:
        if session_id not in self._known:
            assert session_id is not None  # noqa: S101 - None is known
            try:
                parent = (await self._wire.get(session_id)).parent_id
            except SessionNotFoundError:
                parent = None
            self._known[session_id] = await self.has(parent)
        return self._known[session_id]
