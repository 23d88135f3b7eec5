"""Works off a session's inbox: delivers what is due, runs steps until the model has no more to do, and again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from opencode_sessions.testing.v2 import provider
from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.database import NO_TOKENS
from opencode_sessions.testing.v2.ids import new_id, now
from opencode_sessions.testing.v2.provider import ProviderError
from opencode_sessions.testing.v2.publisher import StepPublisher
from opencode_sessions.testing.v2.step import Attempt, StepFailedError, StepRequest
from opencode_sessions.testing.v2.tools import Tools
from opencode_sessions.testing.v2.transcript import chat_messages

__all__ = ["Runner", "Scope"]

Json = dict[str, Any]
Scope = Literal["input", "steer"]
"""What may be delivered: steers alone, or one queued prompt, too, if no steer waits."""

_RETRIES = 4
_LONGEST_WAIT = 15 * 60.0
_GO_ON = "The previous response was interrupted. Continue from where you left off without repeating completed content."

_SUM_UP = "Sum up the conversation so far."


class Runner:
    """Runs the steps of all sessions.

    Args:
        core: The server's insides.
        tools: What the model may call.
    """

    def __init__(self, core: Core, tools: Tools) -> None:
        self._core = core
        self._tools = tools
        self._titling: set[asyncio.Task[None]] = set()

    async def drain(self, session_id: str, *, force: bool, scope: Scope) -> None:
        """Run until the session has nothing to do.

        Args:
            session_id: The session.
            force: Whether to ask the model even if nothing was delivered, as after a restart.
            scope: What may be delivered first.
        """
        if not force and not self._pending(session_id, scope):
            return
        self._fail_stale_tools(session_id)
        entering, continuing = True, False
        while True:
            if not (force or continuing):
                waiting = self._pending(session_id, "input")
                if not waiting or (waiting["delivery"] == "queue" and scope == "steer"):
                    return
                entering = entering or waiting["delivery"] == "queue"
            session = self._core.session(session_id)
            self._instruct(session)
            self._deliver(session, scope if entering and not continuing else "steer")
            continuing = await self._run_step(session_id)
            if continuing:
                await self._compact_if_full(session_id)
            force = entering = False

    # The inbox

    def _pending(self, session_id: str, scope: Scope) -> Json | None:
        steers = self._core.database.inbox(session_id, "steer")
        queued = self._core.database.inbox(session_id, "queue") if scope == "input" else []
        return next(iter([*steers, *queued]), None)

    def _deliver(self, session: Json, scope: Scope) -> None:
        due = self._core.database.inbox(session["id"], "steer")
        if not due and scope == "input":
            due = self._core.database.inbox(session["id"], "queue")[:1]
        for item in due:
            self._core.bus.log("session.inbox.delivered", {"sessionID": session["id"], "inboxID": item["id"]})
        if due and not session.get("parentID") and not session.get("title"):
            task = asyncio.create_task(self._find_title(session["id"], due[0]["payload"]["text"]))
            self._titling.add(task)
            task.add_done_callback(self._titling.discard)

    def _fail_stale_tools(self, session_id: str) -> None:
        for message in self._core.database.messages(session_id):
            if message["type"] != "assistant":
                continue
            for tool in message["content"]:
                if tool["type"] != "tool" or tool["state"]["status"] not in ("streaming", "running"):
                    continue
                metadata = tool["state"].get("metadata")
                child = (
                    f" (sessionID: {metadata['sessionID']})" if metadata and "sessionID" in metadata else ""
                )
                data = {
                    "sessionID": session_id,
                    "assistantMessageID": message["id"],
                    "id": tool["id"],
                    "error": {
                        "type": "aborted",
                        "message": f"Tool execution interrupted: {tool['name']}{child}",
                    },
                    **({"metadata": metadata} if metadata else {}),
                    "executed": tool.get("executed", False),
                }
                self._core.bus.log("session.tool.failed", data)

    # Steps

    async def _run_step(self, session_id: str) -> bool:
        """Run one step, as often as it takes. Returns whether the model is to be asked again after it."""
        message_id = new_id("msg")
        for attempt in range(_RETRIES + 1):
            run = Attempt(self._core, self._tools, self._request(session_id), message_id)
            trouble = await run.run()
            if trouble is None:
                return run.continues
            if attempt == _RETRIES:
                raise self._give_up(run.publisher, trouble)
            await self._wait(run.publisher, trouble, attempt)
            if run.publisher.has_output:
                self._core.bus.log("session.synthetic", {"sessionID": session_id, "text": _GO_ON})
                message_id = new_id("msg")
        raise AssertionError("the last attempt has returned or raised")

    def _give_up(self, publisher: StepPublisher, trouble: ProviderError) -> StepFailedError:
        if publisher.error is None:
            publisher.error = trouble.as_json()
            publisher.end(0)
        return StepFailedError(trouble.as_json())

    async def _wait(self, publisher: StepPublisher, trouble: ProviderError, attempt: int) -> None:
        delay = self._core.retry_base * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, no secret
        delay = max(delay, min(trouble.retry_after or 0.0, _LONGEST_WAIT))
        publisher.retry(attempt + 2, now() + int(delay * 1000), trouble)
        await asyncio.sleep(delay)

    def _request(self, session_id: str) -> StepRequest:
        session = self._core.session(session_id)
        agent = self._core.agent_of(session)
        about = self._core.config.agents.get(agent)
        if about is None:
            raise StepFailedError({"type": "unknown", "message": f'Agent not found: "{agent}"'})
        model = session.get("model") or self._core.config.model
        if model is None:
            raise StepFailedError({"type": "provider.no-route", "message": "No model selected"})
        told = self._core.database.instructions(session_id).get("initial", {})
        system = "\n\n".join(
            [about.get("system") or about.get("prompt") or "", *map(_rendered, told.values())]
        )
        messages = chat_messages(system.strip(), self._core.database.messages(session_id))
        return StepRequest(session_id, session["location"]["directory"], agent, model, messages)

    # Compaction

    async def _compact_if_full(self, session_id: str) -> None:
        """Have the model sum up a conversation that it can hardly take any more. It is sent all of it nevertheless."""
        last = self._core.database.last_assistant(session_id) or {}
        model, tokens = last["model"], last.get("tokens", NO_TOKENS)
        name = model["providerID"], model["id"]
        if tokens["input"] + tokens["output"] <= self._core.config.contexts.get(name, sys.maxsize):
            return
        told: Json = {"sessionID": session_id, "reason": "auto"}
        self._core.bus.log("session.compaction.started", told)
        try:
            text, used = await provider.complete(self._core.config.base_urls[name[0]], name[1], _SUM_UP)
        except ProviderError as trouble:
            self._core.bus.log("session.compaction.failed", {**told, "error": trouble.as_json()})
            return
        self._core.tell(session_id, "session.compaction.delta", {"sessionID": session_id, "text": text})
        spent = {"cost": self._core.cost_of(model, used), "tokens": used}
        self._core.bus.log("session.compaction.ended", {**told, "text": text, "model": model, **spent})

    # Instructions

    def _instruct(self, session: Json) -> None:
        """Tell the model what has changed since it was last told: of the day, the place, and the session's entries."""
        entries = self._core.database.entries(session["id"])
        values = {
            "core/date": datetime.now(UTC).date().isoformat(),
            "core/environment": session["location"]["directory"],
            **{f"api/{key}": value for key, value in entries.items()},
        }
        state = self._core.database.instructions(session["id"])
        current = state.get("current", {})
        changed = {
            key: _hash(value) for key, value in values.items() if key not in current or current[key] != value
        }
        gone = dict.fromkeys(current.keys() - values.keys(), "removed")
        delta = {**changed, **gone}
        if not delta:
            return
        stored = {"initial": state.get("initial", values), "current": values}
        data: Json = {"sessionID": session["id"], "delta": delta}
        if state:
            texts = [_rendered(values[key]) for key in changed] + [
                f"No longer applies: {key}" for key in gone
            ]
            data["text"] = "\n\n".join(texts)
        self._core.bus.log(
            "session.instructions.updated",
            data,
            metadata=None if state else {"instructions": {"initial": True}},
            and_then=lambda: self._core.database.put_instructions(session["id"], stored),
        )

    # Titles

    async def _find_title(self, session_id: str, prompt: str) -> None:
        model = self._core.config.title_model
        if model is None:
            return
        try:
            title, tokens = await provider.complete(
                self._core.config.base_urls[model["providerID"]], model["id"], prompt
            )
        except (ProviderError, KeyError):
            return
        session = self._core.database.session(session_id)
        if session and not session.get("title"):
            used = {"sessionID": session_id, "source": "title", "cost": 0, "tokens": tokens}
            self._core.bus.log("session.usage.recorded", used)
            self._core.bus.log("session.renamed", {"sessionID": session_id, "title": title})


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _rendered(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
