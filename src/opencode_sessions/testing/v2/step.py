"""One step: the model is asked, its tools run, and all of it is settled before the step ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from opencode_sessions.testing.v2 import provider
from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.permissions import DeclinedError
from opencode_sessions.testing.v2.provider import ProviderError
from opencode_sessions.testing.v2.publisher import StepPublisher
from opencode_sessions.testing.v2.tools import ToolCall, ToolError, Tools

__all__ = ["Attempt", "StepFailedError", "StepRequest", "UserInterruptedError"]

Json = dict[str, Any]

_TOOL_INTERRUPTED = {"type": "aborted", "message": "Tool execution interrupted"}
_STEP_INTERRUPTED = {"type": "aborted", "message": "Step interrupted"}
_DECLINED = "The user declined this tool call"


class StepFailedError(Exception):
    """A step ended with an error, and so does the execution."""

    def __init__(self, error: Json) -> None:
        super().__init__(error["message"])
        self.error = error


class UserInterruptedError(Exception):
    """A person refused a tool call without a word, which ends the execution."""


@dataclass(frozen=True, slots=True)
class StepRequest:
    """What a step asks the model."""

    session_id: str
    directory: str
    agent: str
    model: Json
    messages: list[Json]


class Attempt:
    """One attempt at a step. It is used once.

    Args:
        core: The server's insides.
        tools: The tools that the model may call.
        request: What it is asked.
        message_id: The assistant's message that the step becomes.
    """

    def __init__(self, core: Core, tools: Tools, request: StepRequest, message_id: str) -> None:
        self._core = core
        self._tools = tools
        self._request = request
        self._message_id = message_id
        self.publisher = StepPublisher(
            core, request.session_id, message_id, agent=request.agent, model=request.model
        )
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._declined: dict[str, str] = {}

    async def run(self) -> ProviderError | None:
        """Ask the model, run its tools, and publish all of it.

        Returns:
            The trouble after which the model is to be asked again; nothing is settled then. None: the step has ended.

        Raises:
            StepFailedError: The step ended with an error.
            UserInterruptedError: A person refused a tool call without a word.
            asyncio.CancelledError: The execution was interrupted. The step is settled.
        """
        trouble: ProviderError | None = None
        interrupted = False
        try:
            await self._stream()
        except asyncio.CancelledError:
            interrupted = True
        except ProviderError as error:
            trouble = error
        self.publisher.break_off()  # nothing is open if the answer came to its end
        self.publisher.streamed()
        interrupted = await self._join_tools(stop=interrupted) or interrupted
        if trouble and trouble.repeatable and not self.publisher.has_output and not interrupted:
            self.publisher.start()
            return trouble
        self._settle(trouble, interrupted=interrupted)
        if interrupted:
            raise asyncio.CancelledError
        if self._declined:
            raise UserInterruptedError
        if trouble and trouble.broken_off:
            return trouble
        if self.publisher.error:
            raise StepFailedError(self.publisher.error)
        return None

    @property
    def continues(self) -> bool:
        """Whether the model is to be told what its tools came to."""
        return self.publisher.has_calls

    async def _stream(self) -> None:
        request = self._request
        name = (request.model["providerID"], request.model["id"])
        base_url = self._core.config.base_urls.get(name[0])
        if base_url is None:
            raise ProviderError(
                f"Model unavailable: {'/'.join(name)}", kind="provider.no-route", repeatable=False
            )
        offered = self._tools.offered(request.session_id, request.agent)
        async for piece in provider.ask(
            base_url, name[1], request.messages, offered, session_id=request.session_id
        ):
            for call in self.publisher.take(piece):
                self._start_tool(call)

    def _start_tool(self, complete: tuple[str, str, Json]) -> None:
        call_id, name, arguments = complete
        call = ToolCall(
            session_id=self._request.session_id,
            directory=self._request.directory,
            agent=self._request.agent,
            message_id=self._message_id,
            id=call_id,
            name=name,
            arguments=arguments,
            progress=lambda metadata: self.publisher.progress(call_id, metadata),
        )
        self._runs[call_id] = asyncio.create_task(self._run_tool(call))

    async def _run_tool(self, call: ToolCall) -> None:
        try:
            result = await self._tools.run(call)
        except ToolError as failure:
            self.publisher.fail_tool(call.id, {"type": failure.kind, "message": str(failure)})
        except DeclinedError as refusal:
            self._declined[call.id] = str(refusal) or _DECLINED
        except Exception as error:  # noqa: BLE001  # a tool's own fault is the model's to hear of
            self.publisher.fail_tool(
                call.id, {"type": "unknown", "message": f"{type(error).__name__}: {error}"}
            )
        else:
            self.publisher.succeed_tool(call.id, result)

    async def _join_tools(self, *, stop: bool) -> bool:
        """Wait until all tools have ended. Returns whether they were stopped."""
        running = [task for task in self._runs.values() if not task.done()]
        if running and not stop:
            try:
                await asyncio.wait(running)
            except asyncio.CancelledError:
                stop = True
        if stop:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return stop

    def _settle(self, trouble: ProviderError | None, *, interrupted: bool) -> None:
        publisher = self.publisher
        if trouble:
            publisher.error = trouble.as_json()
        for call_id, message in self._declined.items():
            publisher.fail_tool(call_id, {"type": "aborted", "message": message})
        if interrupted or self._declined:
            publisher.error = _STEP_INTERRUPTED if publisher.started else None
        publisher.fail_open_tools(_TOOL_INTERRUPTED)
        finished = publisher.finished
        if finished and finished.reason == "content-filter" and not publisher.error:
            publisher.error = {
                "type": "provider.content-filter",
                "message": "The provider filtered the response",
            }
        publisher.end(self._core.cost_of(self._request.model, finished.tokens) if finished else 0)
