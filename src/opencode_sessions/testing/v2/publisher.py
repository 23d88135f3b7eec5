"""Turns a model's answer into the events of one step."""

from __future__ import annotations

import json
from typing import Any

from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.ids import now
from opencode_sessions.testing.v2.provider import (
    CallBegun,
    CallInput,
    Finished,
    Piece,
    ProviderError,
    Reasoning,
    Text,
)
from opencode_sessions.testing.v2.tools import ToolResult
from opencode_sessions.testing.v2.transcript import translated

__all__ = ["StepPublisher"]

Json = dict[str, Any]


class StepPublisher:
    """The events of one attempt at one step.

    Args:
        core: The server's insides.
        session_id: The session.
        message_id: The assistant's message that the step becomes.
        agent: The agent that answers.
        model: The model that is asked.
    """

    def __init__(self, core: Core, session_id: str, message_id: str, *, agent: str, model: Json) -> None:
        self._core = core
        self._names: Json = {"sessionID": session_id, "assistantMessageID": message_id}
        self._agent = agent
        self._model = model
        self._asked_at = now()
        self._ordinals = {"text": 0, "reasoning": 0}
        self._block: tuple[str, list[str]] | None = None
        self._call: tuple[CallBegun, list[str]] | None = None
        self._open: dict[str, Json] = {}
        self.finished: Finished | None = None
        self.error: Json | None = None
        self.started = False
        self.has_output = False
        self.has_calls = False

    def take(self, piece: Piece) -> list[tuple[str, str, Json]]:
        """Publish a bit of the answer. Returns the tool calls that are complete now: id, name, arguments."""
        match piece:
            case Text(text):
                calls = self._end_call()
                self._add("text", text)
            case Reasoning(text):
                calls = self._end_call()
                self._add("reasoning", text)
            case CallBegun():
                calls = self._end_call()
                self._end_block()
                self._begin_call(piece)
            case CallInput(text):
                calls = []
                if self._call:
                    self._call[1].append(text)
            case Finished():
                calls = self._end_call()
                self._end_block()
                self.finished = piece
        return calls

    def break_off(self) -> None:
        """Publish the ends of what is open. A tool call in it is not made."""
        self._end_block()
        self._end_input()

    def start(self) -> None:
        """Publish that the step has begun, unless that was done."""
        if not self.started:
            self.started = True
            data = {**self._names, "agent": self._agent, "model": self._model, "started": self._asked_at}
            self._core.bus.log("session.step.started", data)

    def streamed(self) -> None:
        """Publish that the model has said all that it will say."""
        if self.started:
            self._core.bus.log("session.step.streamed", self._names)

    # Texts

    def _add(self, kind: str, text: str) -> None:
        if self._block and self._block[0] != kind:
            self._end_block()
        if self._block is None:
            self._output()
            self._block = (kind, [])
            self._core.bus.log(f"session.{kind}.started", {**self._names, "ordinal": self._ordinals[kind]})
        self._block[1].append(text)
        data = {**self._names, "ordinal": self._ordinals[kind], "delta": text}
        self._tell(f"session.{kind}.delta", data)

    def _end_block(self) -> None:
        if self._block:
            kind, texts = self._block
            data = {**self._names, "ordinal": self._ordinals[kind], "text": "".join(texts)}
            self._core.bus.log(f"session.{kind}.ended", data)
            self._ordinals[kind] += 1
            self._block = None

    # Tool calls

    def _begin_call(self, call: CallBegun) -> None:
        self._output()
        self.has_calls = True
        self._call = (call, [])
        name, _ = translated(call.name, "{}")
        self._open[call.id] = {}
        self._core.bus.log("session.tool.input.started", {**self._names, "id": call.id, "name": name})

    def _end_input(self) -> tuple[str, str, str] | None:
        """Publish the end of a call's arguments. Returns its id, its name and them; None if there is no call."""
        if self._call is None:
            return None
        call, texts = self._call
        self._call = None
        name, text = translated(call.name, "".join(texts))
        self._core.bus.log("session.tool.input.ended", {**self._names, "id": call.id, "text": text})
        return call.id, name, text

    def _end_call(self) -> list[tuple[str, str, Json]]:
        ended = self._end_input()
        if ended is None:
            return []
        call_id, name, text = ended
        try:
            arguments = json.loads(text or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            message = f"The arguments of {name} are not a JSON object"
            self.fail_tool(call_id, {"type": "tool.execution", "message": message})
            return []
        data = {**self._names, "id": call_id, "input": arguments, "executed": False}
        self._core.bus.log("session.tool.called", data)
        return [(call_id, name, arguments)]

    def progress(self, call_id: str, metadata: Json) -> None:
        """Publish what a running tool tells of itself."""
        self._open[call_id] = metadata
        known = self._core.database.message(self._names["assistantMessageID"])
        if known:
            for part in known[1]["content"]:
                if part["type"] == "tool" and part["id"] == call_id:
                    part["state"]["metadata"] = metadata
            self._core.database.put_message(self._names["sessionID"], known[1])
        self._tell("session.tool.progress", {**self._names, "id": call_id, "metadata": metadata})

    def succeed_tool(self, call_id: str, result: ToolResult) -> None:
        """Publish what a tool came to."""
        self._open.pop(call_id, None)
        content = [{"type": "text", "text": result.text}] if result.text else []
        data = {
            **self._names,
            "id": call_id,
            "content": content,
            "metadata": result.metadata,
            "executed": False,
        }
        self._core.bus.log("session.tool.success", data)

    def fail_tool(self, call_id: str, error: Json) -> None:
        """Publish that a tool failed."""
        metadata = self._open.pop(call_id, None)
        data = {**self._names, "id": call_id, "error": error}
        if metadata:
            data["metadata"] = metadata
        self._core.bus.log("session.tool.failed", {**data, "executed": False})

    def fail_open_tools(self, error: Json) -> None:
        """Publish that all tools failed that have not come to anything."""
        for call_id in list(self._open):
            self.fail_tool(call_id, error)

    # The end

    def retry(self, attempt: int, at: int, error: ProviderError) -> None:
        """Publish that the model will be asked again."""
        data = {**self._names, "attempt": attempt, "at": at, "error": error.as_json()}
        self._core.bus.log("session.retry.scheduled", data)

    def end(self, cost: float) -> None:
        """Publish the end of the step, with its error if it has one."""
        used = {"cost": cost, "tokens": self.finished.tokens} if self.finished else {}
        if self.error:
            self.start()
            self._core.bus.log("session.step.failed", {**self._names, "error": self.error, **used})
        elif self.finished:
            self.start()
            self._core.bus.log("session.step.ended", {**self._names, "finish": self.finished.reason, **used})
        if used:
            session = self._core.session(self._names["sessionID"])
            totals = {"sessionID": session["id"], "cost": session["cost"], "tokens": session["tokens"]}
            self._core.bus.tell("session.usage.updated", totals)

    def _output(self) -> None:
        self.start()
        self.has_output = True

    def _tell(self, kind: str, data: Json) -> None:
        self._core.tell(self._names["sessionID"], kind, data)
