"""The tool `subagent`: how one agent starts another, in a session that is a child of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.sessions import Sessions
from opencode_sessions.testing.v2.tools import ToolCall, ToolError, ToolResult

if TYPE_CHECKING:
    from opencode_sessions.testing.v2.executions import Executions
    from opencode_sessions.testing.v2.tools import Tools

__all__ = ["Subagents"]

Json = dict[str, Any]

_DEPTH = 1
_NO_TEXT = "Subagent completed without a text response."


class Subagents:
    """Runs the tool `subagent`: another agent, in a session that is a child of the caller's.

    `tools` and `executions` are set once, when the server is put together: each needs the other.
    """

    tools: Tools
    executions: Executions

    def __init__(self, core: Core, sessions: Sessions) -> None:
        self._core = core
        self._sessions = sessions

    async def run(self, call: ToolCall) -> ToolResult:
        """Start the agent, and wait for what it says.

        Raises:
            ToolError: It cannot be started, or it failed.
        """
        parent = self._core.session(call.session_id)
        name, prompt = call.text("agent"), call.text("prompt")
        self._check_depth(parent)
        about = self._core.config.agents.get(name)
        if about is None:
            raise ToolError(f"Unknown agent: {name}")
        if about["mode"] == "primary":
            raise ToolError(f"Agent {name} cannot run as a subagent")
        await self.tools.check(call, "subagent", [name], save=[name], failure=f"Subagent denied: {name}")
        child = self._sessions.create(
            parent_id=parent["id"],
            title=str(call.arguments.get("description") or name),
            agent=name,
            model=parent.get("model"),
        )
        call.progress({"sessionID": child["id"], "status": "running"})
        self._sessions.admit(
            child["id"], None, {"text": f"You are a subagent spawned by another session.\n{prompt}"}, "steer"
        )
        try:
            outcome = await self.executions.run(child["id"])
        except asyncio.CancelledError:
            self.executions.interrupt(child["id"])
            raise
        if outcome["type"] == "failed":
            raise ToolError(f"Subagent failed (sessionID: {child['id']}): {outcome['error']['message']}")
        if outcome["type"] == "interrupted":
            raise ToolError(f"Subagent cancelled (sessionID: {child['id']})")
        text = f'<subagent sessionID="{child["id"]}" state="completed">\n{self._answer(child["id"])}\n</subagent>'
        return ToolResult(text, {"sessionID": child["id"], "status": "completed"})

    def _check_depth(self, session: Json) -> None:
        depth = 0
        while session.get("parentID"):
            depth += 1
            session = self._core.session(session["parentID"])
        if depth >= _DEPTH:
            raise ToolError(f"Subagent depth limit reached ({_DEPTH}).")

    def _answer(self, session_id: str) -> str:
        for message in reversed(self._core.database.messages(session_id)):
            if message["type"] == "assistant" and "completed" in message["time"] and "error" not in message:
                return (
                    "".join(part["text"] for part in message["content"] if part["type"] == "text") or _NO_TEXT
                )
        return _NO_TEXT
