"""Which sessions are being worked on: one execution a session, from the first wake until it would stay idle."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.runner import Runner, Scope
from opencode_sessions.testing.v2.step import StepFailedError, UserInterruptedError

__all__ = ["Executions"]

logger = logging.getLogger("opencode_sessions.testing.v2")

Json = dict[str, Any]
Reason = Literal["user", "shutdown"]

_MOST_RESUMES = 10
_RESTARTED = (
    "The server restarted while you were working. "
    "Continue from where you left off without repeating completed work."
)
_EXHAUSTED = {
    "type": "aborted",
    "message": "Execution was interrupted repeatedly and will not be resumed automatically.",
}


@dataclass(slots=True)
class _Execution:
    scope: Scope
    done: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    pending_wake: Scope | None = None
    running: bool = False
    stopping: Reason | None = None
    outcome: Json = field(default_factory=dict)


class Executions:
    """Starts, joins and interrupts executions.

    A start writes a claim on the session; only an end releases it. A claim that has outlived its process tells the
    next one what to resume.
    """

    def __init__(self, core: Core, runner: Runner) -> None:
        self._core = core
        self._runner = runner
        self._executions: dict[str, _Execution] = {}

    @property
    def active(self) -> list[str]:
        """The sessions that this process works on."""
        return list(self._executions)

    def wake(self, session_id: str, scope: Scope = "input") -> None:
        """Say that a session has work. An execution that runs looks again before it ends."""
        execution = self._executions.get(session_id)
        if execution is None:
            self._start(session_id, force=False, scope=scope)
        elif execution.pending_wake != "input":
            execution.pending_wake = scope

    def interrupt(self, session_id: str, reason: Reason = "user") -> bool:
        """Stop the execution of a session. What waits in its inbox stays there.

        Returns:
            Whether there was one to stop.
        """
        execution = self._executions.get(session_id)
        if execution is None or execution.stopping:
            return False
        execution.pending_wake = None
        if execution.task is None:
            return False  # it has ended, and its end is being told
        execution.stopping = reason
        # A task that is cancelled before its first step would never tell that it ended.
        if execution.running:
            execution.task.cancel()
        return True

    async def wait_idle(self, session_id: str) -> None:
        """Return once nothing runs in a session."""
        while execution := self._executions.get(session_id):
            await execution.done.wait()

    async def run(self, session_id: str) -> Json:
        """Start an execution, or join the one that runs, and return how it ended: `type`, and `error` if it failed."""
        execution = self._executions.get(session_id)
        while execution and execution.stopping:
            await execution.done.wait()
            execution = self._executions.get(session_id)
        execution = execution or self._start(session_id, force=True, scope="input")
        await execution.done.wait()
        return execution.outcome

    def resume_claimed(self) -> None:
        """Go on with what an earlier process was working on when it ended."""
        database = self._core.database
        database.release_children()
        for session_id in database.claimed():
            if session_id in self._executions:
                continue
            if database.count_resume(session_id) > _MOST_RESUMES:
                self._tell_end(session_id, {"type": "failed", "error": _EXHAUSTED})
                continue
            data = {"sessionID": session_id, "text": _RESTARTED, "description": "Continuing after restart"}
            self._core.bus.log("session.synthetic", data)
            self._start(session_id, force=True, scope="input")

    async def stop(self) -> None:
        """Interrupt all executions, and keep their claims for the next start."""
        executions = list(self._executions.values())
        for session_id in self.active:
            self.interrupt(session_id, "shutdown")
        for execution in executions:
            await execution.done.wait()

    def _start(self, session_id: str, *, force: bool, scope: Scope) -> _Execution:
        execution = self._executions[session_id] = _Execution(scope)
        execution.task = asyncio.create_task(self._execute(session_id, execution, force=force))
        return execution

    async def _execute(self, session_id: str, execution: _Execution, *, force: bool) -> None:
        started = {"sessionID": session_id}
        self._core.bus.log(
            "session.execution.started", started, and_then=lambda: self._core.database.claim(session_id)
        )
        try:
            execution.running = True
            if not execution.stopping:
                await self._drain(session_id, execution, force=force)
        except asyncio.CancelledError:
            execution.stopping = execution.stopping or "shutdown"
        except UserInterruptedError:
            execution.stopping = "user"
        except StepFailedError as failure:
            execution.outcome = {"type": "failed", "error": failure.error}
        except Exception as error:
            logger.exception("an execution failed")
            message = f"{type(error).__name__}: {error}"
            execution.outcome = {"type": "failed", "error": {"type": "unknown", "message": message}}
        execution.task = None
        if execution.stopping:
            execution.outcome = {"type": "interrupted", "reason": execution.stopping}
        execution.outcome = execution.outcome or {"type": "succeeded"}
        try:
            self._tell_end(session_id, execution.outcome)
        finally:
            self._settle(session_id, execution)

    async def _drain(self, session_id: str, execution: _Execution, *, force: bool) -> None:
        await self._runner.drain(session_id, force=force, scope=execution.scope)
        while execution.pending_wake:
            scope, execution.pending_wake = execution.pending_wake, None
            await self._runner.drain(session_id, force=False, scope=scope)

    def _tell_end(self, session_id: str, outcome: Json) -> None:
        if self._core.database.session(session_id) is None:
            return  # it was deleted meanwhile
        about: Json = {name: outcome[name] for name in ("error", "reason") if name in outcome}
        data = {"sessionID": session_id, **about}
        kept = outcome.get("reason") == "shutdown"
        self._core.bus.log(
            f"session.execution.{outcome['type']}",
            data,
            and_then=None if kept else lambda: self._core.database.release(session_id),
        )

    def _settle(self, session_id: str, execution: _Execution) -> None:
        if execution.pending_wake and execution.stopping != "shutdown":
            self._start(session_id, force=False, scope=execution.pending_wake)
        else:
            del self._executions[session_id]
        execution.done.set()
