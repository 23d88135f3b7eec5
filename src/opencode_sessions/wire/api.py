"""All calls to a server, written once for the sync and the async client.

`aio.Client` is this class over a suspending transport; `Client` is its sync twin, method by method.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from opencode_sessions.errors import (
    BadRequestError,
    NotFoundError,
    NotOpencodeError,
    ResponseTooLargeError,
    ServerError,
    SessionNotFoundError,
    WireError,
)
from opencode_sessions.protocol.attachments import content_of, stored_file
from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.ids import new_message_id, new_part_id
from opencode_sessions.protocol.permissions import Rule, from_json
from opencode_sessions.protocol.plain import said
from opencode_sessions.protocol.values import Message, SessionInfo
from opencode_sessions.runtime.ports import Runtime
from opencode_sessions.wire.ask_requests import AskCalls
from opencode_sessions.wire.detect import SUPPORTED
from opencode_sessions.wire.dialect import Call, Dialect, Json, Reader, Thread
from opencode_sessions.wire.event_stream import EventStream, Subscription
from opencode_sessions.wire.file_requests import FileCalls
from opencode_sessions.wire.http import Transport

__all__ = ["Api"]


class Api(AskCalls, FileCalls):
    """The calls to one server, for one directory.

    Every method raises `ServerUnreachableError`, `RequestTimedOutError` or `ConnectionLostError` if the network fails,
    and a `StatusError` if the server refuses. It raises `NotOpencodeError` if another program answers, and
    `UnsupportedVersionError` if the OpenCode server has a version or line that this library does not support. A request
    is repeated only if that cannot change the outcome.
    """

    def __init__(self, transport: Transport, runtime: Runtime, *, directory: str | None = None) -> None:
        super().__init__(transport, runtime, directory=directory)
        self._events = EventStream(self._open_events, self._probe_events, runtime)

    # Sessions.

    async def create(
        self,
        session_id: str | None = None,
        *,
        title: str | None = None,
        rules: Iterable[Rule] = (),
        metadata: Mapping[str, Any] | None = None,
        parent_id: str | None = None,
        directory: str | None = None,
    ) -> SessionInfo:
        """Create a session.

        With a `session_id` (see `new_session_id`) the call is idempotent, and `parent_id` is not possible. On the V1
        line, a second request sends title, rules and metadata (1.18.33). Without an id the server chooses one, in one
        request that is never repeated.

        Raises:
            ValueError: Both `session_id` and `parent_id` are given.
        """
        directory = directory or self.directory
        rules = tuple(rules)
        if session_id is not None and parent_id is not None:
            raise ValueError("a session with a parent gets its id from the server: pass no session_id")
        if session_id is None:
            return await self._asked(
                lambda line: line.create_unnamed(
                    directory=directory, title=title, rules=rules, metadata=metadata, parent_id=parent_id
                )
            )

        async def act(line: Dialect) -> SessionInfo:
            make, *more = line.create(
                session_id, directory=directory, title=title, rules=rules, metadata=metadata
            )
            info = await self._create_with_id(session_id, make)
            for call in more:
                info = await self._answer(call)
            return info

        info = await self._speaking(act)
        if _has(info, title, rules, metadata):
            return info
        # The session existed: from an older request, or from one before the server's line was known.
        return await self.update(session_id, title=title, rules=rules or None, metadata=metadata)

    async def _create_with_id(self, session_id: str, make: Call[SessionInfo]) -> SessionInfo:
        try:
            info = await self._answer(make)
        except (NotFoundError, ServerError):
            await self.health()  # raises if the server is not supported
            raise
        if info.id != session_id:
            await self.delete(info.id)
            await self.health()
            raise NotOpencodeError(
                f"the server was asked for the session {session_id} and made another, which is deleted again: "
                f"it does not create by the caller's id; needed is OpenCode {SUPPORTED}"
            )
        return info

    async def update(
        self,
        session_id: str,
        *,
        title: str | None = None,
        rules: Iterable[Rule] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> SessionInfo:
        """Change the given values. `metadata` is replaced. `rules` are replaced, or appended on the V1 line."""
        rules = None if rules is None else tuple(rules)
        return await self._asked(
            lambda line: line.update(session_id, title=title, rules=rules, metadata=metadata)
        )

    async def delete(self, session_id: str) -> bool:
        """Delete a session, with its children. The agents of a busy session go on: `abort` it first.

        Returns:
            False if there was no such session.
        """
        try:
            await self._asked(lambda line: line.delete(session_id))
        except SessionNotFoundError:
            return False
        return True

    async def abort(self, session_id: str) -> None:
        """Stop the session and its sub-agents. The server also accepts an unknown or idle session.

        Their asks go on waiting (1.18.33): see `stop`.
        """
        with suppress(SessionNotFoundError):  # on the V2 line
            await self._asked(lambda line: line.abort(session_id))

    async def withdraw(self, session_id: str, message_id: str) -> bool:
        """Withdraw a prompt that the server has accepted and not begun to answer, if it keeps such prompts.

        A server of the V2 line does: after an abort they wait for the next prompt.

        Returns:
            Whether the prompt was withdrawn, so that it will not be answered.
        """
        if not self._identified:
            await self._refuse_others()
        if message_id not in (await self._ask(lambda line: line.waiting(session_id)) or ()):
            return False
        await self._ask(lambda line: line.withdraw(session_id, message_id))
        try:
            await self.message(session_id, message_id)
        except NotFoundError:
            return True
        return False  # the server has just delivered it

    async def stop(self, session_id: str) -> Sequence[WireError]:
        """Abort the session, and reject the asks of the session and its sub-agents.

        An ask that stays pending after an abort would still run its tool when it is answered later (1.18.33).

        Returns:
            Errors of asks that could not be rejected: see `pending_permissions`. The agents are stopped nevertheless.
        """
        await self.abort(session_id)
        return await self.reject_asks(session_id)

    async def list(
        self, *, search: str | None = None, all_directories: bool = False, page_size: int = 100
    ) -> AsyncIterator[SessionInfo]:
        """The sessions, newest first. Pages of `page_size` or more are fetched when they are needed."""
        directory = None if all_directories else self.directory
        cursor: str | None = None
        listed: frozenset[str] = frozenset()
        while True:
            page, cursor = await self._page(
                partial(_sessions, directory=directory, search=search, limit=page_size, cursor=cursor)
            )
            for info in page:  # the pages of a line may overlap
                if info.id not in listed:
                    yield info
            if not cursor:
                return
            page_size *= 2 if listed.issuperset(info.id for info in page) else 1
            listed = frozenset(info.id for info in page)

    async def children(self, session_id: str) -> Sequence[SessionInfo]:
        """The sessions of its sub-agents."""
        return await self._asked(lambda line: line.children(session_id))

    async def busy(self, session_id: str, *, directory: str | None = None) -> bool:
        """Does the session work, or wait to retry? Without its `directory`, one more request finds that out."""
        if directory is None:
            try:
                directory = (await self.get(session_id)).directory
            except SessionNotFoundError:
                return False
        return session_id in await self._asked(lambda line: line.busy(directory=directory))

    async def status(self, *, directory: str | None = None) -> Mapping[str, SessionStatus]:
        """The busy and retrying sessions of a directory, by id; by default of this client's.

        A session that is missing is idle, was never started, is of another directory, or its server was restarted.
        """
        return await self._asked(lambda line: line.statuses(directory=directory or self.directory))

    async def fork(self, session_id: str, message_id: str | None = None) -> SessionInfo:
        """Copy a session, up to the message before `message_id`. The copy works in the same directory.

        It has no rules: apply them first.

        Raises:
            NotFoundError: The session has no such message. The server itself would copy all messages (1.18.33).
        """
        if message_id is not None:
            with suppress(BadRequestError):  # it exists: a prompt with a schema cannot be read (1.18.33)
                await self.message(session_id, message_id)
        return await self._asked(lambda line: line.fork(session_id, message_id))

    async def move(self, session_id: str, directory: str) -> None:
        """Let an idle session work in another directory of the server's machine from now on."""
        await self._asked(lambda line: line.move(session_id, directory))

    async def revert(self, session_id: str, message_id: str, part_id: str | None = None) -> SessionInfo:
        """Revert this message and all later ones, with their changes of files; ConflictError while busy."""
        return await self._asked(lambda line: line.revert(session_id, message_id, part_id))

    async def unrevert(self, session_id: str) -> SessionInfo:
        """Undo a revert."""
        return await self._asked(lambda line: line.unrevert(session_id))

    # Messages.

    async def messages(self, session_id: str, *, page_size: int = 50) -> AsyncIterator[Message]:
        """The stored messages, newest first. Pages of `page_size` are fetched when they are needed.

        If a page exceeds the limit for one answer, the rest is read in smaller pages.

        Raises:
            ResponseTooLargeError: One message alone exceeds the limit.
        """
        thread: Thread | None = None
        cursor: str | None = None
        while True:
            try:
                page, cursor = await self._page(
                    partial(_messages, session_id=session_id, limit=page_size, cursor=cursor)
                )
            except ResponseTooLargeError:
                if page_size == 1:
                    raise
                page_size = max(page_size // 4, 1)
                continue
            thread = thread or self._line.thread()
            for message in page:
                for told in thread.take(message):
                    yield told
            if not cursor:
                return

    async def message(self, session_id: str, message_id: str) -> Message:
        """One stored message; NotFoundError without the message, SessionNotFoundError without the session."""
        return await self._asked(lambda line: line.message(session_id, message_id))

    async def attachment(self, session_id: str, message_id: str, attachment_id: str) -> bytes:
        """The content of a picture or a file that a tool returned, or that is a part of an answer.

        Args:
            session_id: The `sessionID` of an item in a part's `attachments`.
            message_id: Its `messageID`.
            attachment_id: Its `id`.

        Raises:
            NotFoundError: The message has no such attachment, or there is no such message or session.
        """
        message = await self.message(session_id, message_id)
        file = stored_file(message.parts, attachment_id)
        content = None if file is None else content_of(said(file.get("url")))
        if content is None:
            raise NotFoundError(f"the message {message_id} has no attachment {attachment_id}")
        return content

    async def todos(self, session_id: str) -> Sequence[Mapping[str, Any]]:
        """The agent's present todo list, each item as `{content, status, priority}`; empty if there is none."""
        return await self._ask(lambda line: line.todos(session_id)) or ()

    async def prompt(
        self,
        session_id: str,
        prompt: str | Iterable[Mapping[str, Any]],
        *,
        message_id: str | None = None,
        part_id: str | None = None,
        agent: str | None = None,
        model: str | None = None,
        system: str | None = None,
        variant: str | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Send a prompt. The answer comes by events, and later in the stored messages.

        Args:
            session_id: The session. Its rules must be in force: see `Session.ensure`.
            prompt: The text, or parts in the server's own form.
            message_id: A new id of yours that no session has used before (see `new_message_id`).
            part_id: A new id for the text's part.
            agent: The agent's name; by default the server's.
            model: As `provider/model`; by default the agent's.
            system: Text that is added to the system prompt.
            variant: The model's variant, such as `high`.
            schema: The JSON schema of a structured answer.

        Returns:
            The message's id. The server has only accepted the prompt (204). The request is never repeated.
        """
        message_id = message_id or new_message_id()
        if isinstance(prompt, str):
            prompt = [{"id": part_id or new_part_id(), "type": "text", "text": prompt}]
        parts = tuple(prompt)
        await self._ask(
            lambda line: line.prompt(
                session_id,
                message_id=message_id,
                parts=parts,
                agent=agent,
                model=model,
                system=system,
                variant=variant,
                schema=schema,
            )
        )
        return message_id

    # Events.

    @asynccontextmanager
    async def _open_events(self) -> AsyncIterator[tuple[AsyncIterator[bytes], Reader]]:
        line = self._line
        async with self._transport.stream(line.events()) as chunks:
            yield chunks, line.reader()

    async def _probe_events(self) -> bool:
        request = self._line.probe(directory=self.directory)
        if request is not None:
            await self._transport.send(request)
        return request is not None

    async def subscribe(self, session_id: str | None = None) -> Subscription:
        """The events of one session and its children from now on (None: of all sessions), over the shared stream.

        Returns when the stream is open, so that no later event is missed. After an interruption, the events contain a
        `Gap`.
        """
        return await self._speaking(lambda _: self._events.subscribe(session_id))

    async def close(self) -> None:
        """Close the event stream and all connections. Turns that use this client are released first."""
        await self.clock.wind_up()
        self._events.stop()
        self._transport.interrupt()
        await self._events.join()
        await self._transport.close()


def _sessions(line: Dialect, **given: Any) -> Call[Sequence[SessionInfo]]:
    return line.sessions(**given)


def _messages(line: Dialect, *, session_id: str, **given: Any) -> Call[Sequence[Message]]:
    return line.messages(session_id, **given)


def _has(info: SessionInfo, title: str | None, rules: tuple[Rule, ...], metadata: Json | None) -> bool:
    """Does a session have this title, these rules and these metadata?"""
    labelled = bool(info.title or not title) and {**info.metadata, **(metadata or {})} == info.metadata
    return labelled and from_json(info.rules[len(info.rules) - len(rules) :]) == rules
